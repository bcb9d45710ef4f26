# The system libraries that libminidl links to, as targets PkgConfig::MINIDL_<NAME>. Used by the build and, installed beside the package,
# by find_package(minidl COMPONENTS static). Sets
#   minidl_missing          Debian packages of what was not found
#   minidl_private_libs     linker flags of what was found, for the pkg-config files
set(minidl_missing "")
set(minidl_private_libs "")

find_package(PkgConfig QUIET)
if(NOT PkgConfig_FOUND)
  list(APPEND minidl_missing pkgconf)
endif()

macro(minidl_require_module name module debian_package)
  if(PkgConfig_FOUND)
    pkg_check_modules(MINIDL_${name} QUIET IMPORTED_TARGET ${module})
    list(APPEND minidl_private_libs ${MINIDL_${name}_LDFLAGS})
  endif()
  if(NOT MINIDL_${name}_FOUND)
    list(APPEND minidl_missing ${debian_package})
  endif()
endmacro()

minidl_require_module(ZLIB zlib zlib1g-dev)
minidl_require_module(HWY libhwy libhwy-dev)
minidl_require_module(STB stb libstb-dev)
minidl_require_module(EXIF libexif libexif-dev)
minidl_require_module(PNG libpng libpng-dev)
minidl_require_module(CRYPTO libcrypto libssl-dev)
minidl_require_module(FMT fmt libfmt-dev)
list(REMOVE_DUPLICATES minidl_private_libs)
