#include <minidl/apps/common/flags.h>
#include <minidl/apps/common/program.h>

#include <cstdio>
#include <exception>
#include <new>

namespace minidl::apps {

void print_error(std::string message) {
  for (char& letter : message) {
    if (static_cast<unsigned char>(letter) < ' ' || letter == 127) letter = ' ';  // a file name may hold anything
  }
  std::fprintf(stderr, "error: %s\n", message.c_str());
}

int run_program(const std::function<int()>& body) {
  try {
    const int code = body();
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) fail("standard output cannot be written");
    return code;
  } catch (const UsageError& error) {
    print_error(error.what());
    return kWrongUsage;
  } catch (const std::bad_alloc&) {
    print_error("not enough memory; try a smaller --size");
  } catch (const std::exception& error) {
    print_error(error.what());
  }
  return kFailure;
}

}  // namespace minidl::apps
