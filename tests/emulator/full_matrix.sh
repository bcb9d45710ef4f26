#!/usr/bin/env bash
# Everything that can be known about the CUDA kernels without a GPU, for which continuous integration has no time: all tests of the emulated
# device in every order of threads and copies, plain, under the sanitizers and in the race detector; a failure of each single call of the
# runtime; the counts of every kernel; and, unless --without-mutants is given, the mutants. Hours on two cores. The first failure ends it.
#   bash tests/emulator/full_matrix.sh [--without-mutants]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

mutants=yes jobs="${CTEST_PARALLEL_LEVEL:-$(nproc)}"
for argument in "$@"; do
  case "$argument" in
    --without-mutants) mutants=no ;;
    *) echo "full_matrix.sh: unknown argument '$argument' (there is --without-mutants)" >&2; exit 2 ;;
  esac
done

for preset in emulated asan emulated-race; do
  echo "full_matrix.sh: $preset"
  cmake --preset "$preset"
  cmake --build --preset "$preset" --target minidl_emulator_tests minidl_cuda_tests
  (cd "build/$preset" && ctest --parallel "$jobs" --output-on-failure --no-tests=error -L '^(emulator|cuda|cuda_schedules)$')
done

echo "full_matrix.sh: every call of the runtime fails once"
for caching in 0 1; do
  MINIDL_EVERY_CALL=1 MINIDL_CUDA_CACHING=$caching build/emulated/bin/emulator_whole_runs_test
done

echo "full_matrix.sh: counts"
build/emulated/bin/kernel_counters > build/emulated/kernel_counters.md
build/emulated/bin/kernel_counters --layers > build/emulated/layer_counts.md

if [[ $mutants == yes ]]; then
  echo "full_matrix.sh: mutants"
  python3 tests/emulator/mutate.py
  python3 tests/emulator/mutate.py --survivors
fi
echo "full_matrix.sh: everything passed"
