#include <minidl/core/error.h>
#include <minidl/minidl.h>

#include <cstdio>

int main() {
  try {
    minidl::fail("{}: {} works", "minidl " MINIDL_VERSION, "style transfer");
  } catch (const minidl::Error& error) {
    std::puts(error.what());
  }
}
