#!/usr/bin/env bash
# Installs what is missing, builds the release preset and runs all tests. Pictures and weights from outside the tree are found through
# MINIDL_TEST_DATA; tests that need them are skipped without it.
set -euo pipefail
if [[ -n "${MINIDL_TEST_DATA:-}" ]]; then
  export MINIDL_TEST_DATA="$(realpath "$MINIDL_TEST_DATA")"
else
  echo "MINIDL_TEST_DATA is not set: tests that need data from outside will be skipped"
fi
export CTEST_PARALLEL_LEVEL="${CTEST_PARALLEL_LEVEL:-$(nproc)}"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash third_party/install.sh
cmake --preset release
cmake --build --preset release
ctest --preset release
