#!/usr/bin/env bash
# Runs all tests of the coverage preset and prints the line coverage of the library's folders. Needs gcovr (apt-get install gcovr).
set -euo pipefail
if [[ -n "${MINIDL_TEST_DATA:-}" ]]; then
  export MINIDL_TEST_DATA="$(realpath "$MINIDL_TEST_DATA")"
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v gcovr >/dev/null || { echo "coverage.sh: gcovr is missing; install it with: apt-get install gcovr" >&2; exit 1; }
cmake --preset coverage
cmake --build --preset coverage
find build/coverage -name '*.gcda' -delete  # counts of earlier runs
ctest --preset coverage
for folder in core kernels layers optim; do
  # The report goes to a file of its own: gcovr replaces what it is told to write, were it /dev/null.
  percent=$(gcovr --root . --object-directory build/coverage --filter "$folder/" --print-summary --output build/coverage/lines.txt build/coverage |
            sed -n 's/^lines: //p')
  echo "$folder: $percent"
done
