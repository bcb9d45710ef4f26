#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>

namespace minidl::apps {

/// Fields keep the order in which they were set.
using Json = nlohmann::ordered_json;

/// Writes indented JSON, the file whole or not at all. Numbers that are not finite become null, bytes that are not
/// UTF-8 (in file names) the replacement character. Throws Error naming the file.
void write_json(const std::filesystem::path& path, const Json& report);

}  // namespace minidl::apps
