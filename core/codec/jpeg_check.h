#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace minidl::detail {

/// Why a JPEG file must not be handed to stb_image, or empty. The stb_image of Debian 12 and Ubuntu 24.04 trusts a
/// file's Huffman tables: one with more than 256 codes is written past its end, and one that a scan uses but the file
/// never defines is uninitialised memory by which other memory is read.
std::string_view jpeg_defect(std::span<const uint8_t> file);

}  // namespace minidl::detail
