#!/usr/bin/env bash
# Measures whole iterations of nst_gatys and of the same work in PyTorch on the CPU, in turns: see compare_pytorch.py --help for the flags.
#   bash tests/bench/compare_pytorch.sh --weights imagenet-vgg-verydeep-19.mat
# PYTHON names an interpreter that has torch, numpy, pillow, safetensors and matplotlib. Without it they are installed into a virtual
# environment under build/, from where pip's own settings (PIP_INDEX_URL, ...) say; the build of torch for CPUs alone saves gigabytes.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

if [[ -z "${PYTHON:-}" ]]; then
  environment="$root/build/compare/venv"
  PYTHON="$environment/bin/python"
  mkdir -p "$root/build/compare"
  { python3 -m venv "$environment" && "$PYTHON" -m pip install --quiet torch numpy pillow safetensors matplotlib; } \
    > "$root/build/compare/install.log" 2>&1 ||
    { echo "compare_pytorch.sh: PyTorch cannot be installed (no network? see build/compare/install.log); PYTHON may name a python that has it" >&2
      exit 1; }
fi
problem=$("$PYTHON" -c 'import torch, numpy, PIL, safetensors' 2>&1 | tail -1) || problem=${problem:-"it does not start"}
[[ -z "$problem" ]] || { echo "compare_pytorch.sh: $PYTHON cannot be used: $problem" >&2; exit 1; }

(cd "$root" && cmake --preset bench > /dev/null &&
  cmake --build --preset bench --target step_bench nst_gatys nst_convert minidl_demo_pictures > /dev/null)
exec "$PYTHON" "$root/tests/bench/compare_pytorch.py" "$@"
