#!/usr/bin/env bash
# Builds the tests of core and kernels for 64-bit ARM (NEON) with Debian's cross compiler and runs them under qemu. Installs the compiler and
# qemu; the arm64 libraries are only unpacked, into build/neon/sysroot, so the packages of the machine stay as they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash third_party/install.sh
bash third_party/install.sh g++-aarch64-linux-gnu qemu-user

# An apt of its own, for arm64, that believes that nothing is installed: it brings the libraries with all they need, libc included.
build=$PWD/build/neon
if [[ ! -e $build/sysroot/complete ]]; then
  rm -rf "$build/sysroot" "$build/apt"
  mkdir -p "$build/sysroot" "$build"/apt/{lists,archives}/partial
  touch "$build/apt/status"
  arm64_apt() {
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User="$(id -un)" -o Dir::State="$build/apt" \
      -o Dir::State::status="$build/apt/status" -o Dir::Cache="$build/apt" "$@"
  }
  mapfile -t libraries < <(sed -n 's/^\([a-z0-9.+-]*-dev\)$/\1/p' third_party/packages.txt)
  echo "neon.sh: fetching ${libraries[*]} for arm64"
  arm64_apt update
  arm64_apt install -y --no-install-recommends --download-only "${libraries[@]}"
  for package in "$build"/apt/archives/*.deb; do
    dpkg -x "$package" "$build/sysroot"
  done
  rm -rf "$build/apt"
  touch "$build/sysroot/complete"
fi

cmake --preset neon
cmake --build --preset neon
ctest --preset neon
