#include <minidl/apps/common/report.h>
#include <minidl/core/file.h>

namespace minidl::apps {

void write_json(const std::filesystem::path& path, const Json& report) {
  const std::string text = report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  write_file_atomically(path, text.data(), text.size());
}

}  // namespace minidl::apps
