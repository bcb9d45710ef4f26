#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace minidl {

/// Whole contents of a regular file of at most `max_bytes`. Throws Error (missing, directory, unreadable, too large) naming the file.
std::vector<uint8_t> read_file(const std::filesystem::path& path, int64_t max_bytes = int64_t{1} << 40);

/// Writes a file that is there whole or not at all: `write` gets the path of a temporary file in the same folder, which is then flushed to
/// disk and renamed to `path`. On any exception the temporary file is removed and an existing `path` stays as it was. Throws Error naming
/// `path` when the folder does not exist or cannot be written, or the disk is full.
void write_atomically(const std::filesystem::path& path, const std::function<void(const std::filesystem::path& temporary)>& write);
/// The same for bytes in memory.
void write_file_atomically(const std::filesystem::path& path, const void* data, size_t bytes);

/// Lower-case hexadecimal SHA-256 of a file, read in pieces.
std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace minidl
