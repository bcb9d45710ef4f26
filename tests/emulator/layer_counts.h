#pragma once

namespace minidl::emulator {

/// What products on tensor cores ask for in each layer of VGG-19 and of a transform net, cut into the tiles and parts of
/// a picture of 512 pixels, and counted on smaller maps that have whole tiles: prints a Markdown table.
void print_layer_counts();

}  // namespace minidl::emulator
