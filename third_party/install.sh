#!/usr/bin/env bash
# install.sh [PACKAGE...]: installs what is missing of these Debian packages, or of those in packages.txt. Says what it does; does nothing when
# all are there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

packages=("$@")
if (($# == 0)); then
  mapfile -t packages < <(sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' packages.txt)
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install.sh knows Debian and Ubuntu only (apt-get). On this system, install what these packages hold: ${packages[*]}" >&2
  exit 1
fi

is_installed() { [[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]; }

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "install.sh: all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "install.sh: not root, and there is no sudo. As root, run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
apt() { ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }

# The package lists of a fresh container are empty, those of an old machine may name files that are gone.
echo "install.sh: installing ${missing[*]}${as_root[*]:+ (sudo may ask for your password)}"
if ! apt install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
  echo "install.sh: updating the package lists first"
  apt update
  apt install -y --no-install-recommends "${missing[@]}"
fi
echo "install.sh: done"
