#pragma once
#include <string_view>

namespace minidl::emulator {

/// What products on tensor cores ask for in each layer of VGG-19 and of a transform net whose name begins so, cut into
/// the tiles and parts of a picture of 512 pixels, and counted on smaller maps that have whole tiles: prints a Markdown
/// table. The products alone: no bias, no ReLU, no masks. False where a number is above its limit.
bool print_layer_counts(std::string_view beginning);

}  // namespace minidl::emulator
