#!/usr/bin/env bash
# From a fresh machine to first pictures: installs what is missing, builds the programs, makes a photo and a painting, paints the one like the
# other by optimisation, and once more with a built-in style.
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
cmake --build --preset release --target nst_gatys nst_stylize minidl_demo_pictures
echo "built in $SECONDS s"

bin=build/release/bin
demo=build/release/demo
builtin_of_kind() { sed -n "s/^minidl_builtin(\([a-z0-9_]*\) $1.*/\1/p" apps/builtin/CMakeLists.txt; }
mapfile -t networks < <(builtin_of_kind network)
mapfile -t styles < <(builtin_of_kind style)
"$bin/minidl_demo_pictures" "$demo" --only content --only style --only demo_network

# The network that compares the pictures: VGG when it is there, then the built-in one.
look=(--size 512)
with=""
if [[ -n "$weights" ]]; then
  look+=(--weights "$weights")
  with=" --weights $weights"
elif ((${#networks[@]} == 0)); then
  look=(--weights "$demo/demo_network.safetensors" --size 256 --style-weight 20 --tv 100 --iterations 60)  # more style, and smoothing
  with=" --weights imagenet-vgg-verydeep-19.mat"
  echo "No weights were named: a small network with random weights stands in for VGG. It shows that everything works, not what the"
  echo "method can do: for real pictures, get VGG-19 weights (README, section Weights) and pass them with --weights."
fi

SECONDS=0
"$bin/nst_gatys" --content "$demo/content.png" --style "$demo/style.png" "${look[@]}" --output "$demo/result.png"
optimised=$SECONDS
if ((${#styles[@]})); then
  SECONDS=0
  "$bin/nst_stylize" --builtin "${styles[0]}" "$demo/content.png" "$demo/${styles[0]}.png"
  painted=$SECONDS
fi

echo "content:  $PWD/$demo/content.png"
echo "style:    $PWD/$demo/style.png"
echo "result:   $PWD/$demo/result.png (optimised in $optimised s)"
if ((${#styles[@]})); then
  echo "built-in: $PWD/$demo/${styles[0]}.png (${styles[0]}, painted in $painted s; all styles: $PWD/$bin/nst_stylize --list)"
  echo "now with your own: $PWD/$bin/nst_stylize --builtin ${styles[0]} photo.jpg painted.png"
fi
echo "now with your own: $PWD/$bin/nst_gatys --content photo.jpg --style painting.jpg$with -o out.png"
echo "demo.sh: finished; the picture is $PWD/$demo/result.png"
