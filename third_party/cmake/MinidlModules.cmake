# The system libraries that libminidl links to, as targets PkgConfig::MINIDL_<NAME>. Used by the build and, installed beside the package,
# by find_package(minidl COMPONENTS static). Sets
#   minidl_missing          Debian packages of what was not found
#   minidl_private_libs     linker flags of what was found, for the pkg-config files
#   MINIDL_HAS_MATIO        ON when .mat files can be read; asked for by MINIDL_MATIO (AUTO, ON, OFF)
set(minidl_missing "")
set(minidl_private_libs "")
set(MINIDL_HAS_MATIO OFF)

find_package(PkgConfig QUIET)
if(NOT PkgConfig_FOUND)
  list(APPEND minidl_missing pkgconf)
endif()

macro(minidl_find_module name module)
  if(PkgConfig_FOUND)
    pkg_check_modules(MINIDL_${name} QUIET IMPORTED_TARGET ${module})
    list(APPEND minidl_private_libs ${MINIDL_${name}_LDFLAGS})
  endif()
endmacro()

macro(minidl_require_module name module debian_package)
  minidl_find_module(${name} ${module})
  if(NOT MINIDL_${name}_FOUND)
    list(APPEND minidl_missing ${debian_package})
  endif()
endmacro()

if(NOT MINIDL_MATIO STREQUAL "OFF")
  minidl_find_module(MATIO matio)
  if(MINIDL_MATIO_FOUND)
    set(MINIDL_HAS_MATIO ON)
    minidl_require_module(ZLIB zlib zlib1g-dev)
  elseif(MINIDL_MATIO STREQUAL "ON")
    list(APPEND minidl_missing libmatio-dev)
  endif()
endif()
minidl_require_module(HWY libhwy libhwy-dev)
minidl_require_module(STB stb libstb-dev)
minidl_require_module(EXIF libexif libexif-dev)
minidl_require_module(PNG libpng libpng-dev)
minidl_require_module(CRYPTO libcrypto libssl-dev)
minidl_require_module(FMT fmt libfmt-dev)
list(REMOVE_DUPLICATES minidl_private_libs)
