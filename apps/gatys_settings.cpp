#include <minidl/core/error.h>
