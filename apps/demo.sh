#!/usr/bin/env bash
# From a fresh machine to a first picture: installs what is missing, builds the programs and stylises a picture.
#   bash apps/demo.sh [--weights FILE]       FILE: VGG weights, .mat or .safetensors; also taken from MINIDL_WEIGHTS
set -euo pipefail

weights="${MINIDL_WEIGHTS:-}"
if [[ $# -eq 2 && "$1" == --weights ]]; then
  weights="$2"
elif (($# != 0)); then
  echo "usage: bash apps/demo.sh [--weights FILE]" >&2
  exit 2
fi
if [[ -n "$weights" ]]; then
  [[ -f "$weights" ]] || { echo "demo.sh: there is no file of weights '$weights'" >&2; exit 1; }
  weights="$(realpath "$weights")"
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SECONDS=0
bash third_party/install.sh
cmake --preset release >/dev/null
cmake --build --preset release --target nst_gatys minidl_demo_pictures
echo "built in $SECONDS s"

bin=build/release/bin
demo=build/release/demo
mkdir -p "$demo"
"$bin/minidl_demo_pictures" "$demo"
look=()
if [[ -z "$weights" ]]; then
  look=(--style-weight 20 --tv 100 --iterations 60)  # random features want more style, and smoothing
  weights="$demo/demo_network.safetensors"
  echo "No weights were named: a small network with random weights stands in for VGG. It shows that everything works, not what the"
  echo "method can do: for real pictures, get VGG-19 weights (README, section Weights) and pass them with --weights."
fi

SECONDS=0
"$bin/nst_gatys" --content "$demo/content.png" --style "$demo/style.png" --weights "$weights" --size 256 "${look[@]}" \
  --output "$demo/result.png"
echo "content: $PWD/$demo/content.png"
echo "style:   $PWD/$demo/style.png"
echo "now with your own: $PWD/$bin/nst_gatys --content photo.jpg --style painting.jpg --weights imagenet-vgg-verydeep-19.mat -o out.png"
echo "demo.sh: finished in $SECONDS s; the picture is $PWD/$demo/result.png"
