#include <minidl/apps/common/flags.h>
#include <minidl/apps/common/program.h>

#include <cstdio>
#include <exception>
#include <new>
#include <string>

namespace minidl::apps {
namespace {

int report_error(std::string message, int code) {
  for (char& letter : message) {
    if (static_cast<unsigned char>(letter) < ' ' || letter == 127) letter = ' ';  // a file name may hold anything
  }
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return code;
}

}  // namespace

int run_program(const std::function<int()>& body) {
  try {
    const int code = body();
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) fail("standard output cannot be written");
    return code;
  } catch (const UsageError& error) {
    return report_error(error.what(), kWrongUsage);
  } catch (const std::bad_alloc&) {
    return report_error("not enough memory; try a smaller --size", kFailure);
  } catch (const std::exception& error) {
    return report_error(error.what(), kFailure);
  }
}

}  // namespace minidl::apps
