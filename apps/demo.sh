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
style=starry_night
"$bin/minidl_demo_pictures" "$demo" --only content --only style

with=()
if [[ -n "$weights" ]]; then
  with=(--weights "$weights")
fi

SECONDS=0
"$bin/nst_gatys" --content "$demo/content.png" --style "$demo/style.png" "${with[@]}" --output "$demo/result.png"
optimised=$SECONDS
SECONDS=0
"$bin/nst_stylize" --builtin "$style" "$demo/content.png" "$demo/$style.png"
painted=$SECONDS

echo "content:  $PWD/$demo/content.png"
echo "style:    $PWD/$demo/style.png"
echo "result:   $PWD/$demo/result.png (optimised in $optimised s)"
echo "built-in: $PWD/$demo/$style.png ($style, painted in $painted s; all styles: $PWD/$bin/nst_stylize --list)"
echo "now with your own: $PWD/$bin/nst_stylize --builtin $style photo.jpg painted.png"
echo "now with your own: $PWD/$bin/nst_gatys --content photo.jpg --style painting.jpg${weights:+ --weights $(printf %q "$weights")} -o out.png"
echo "demo.sh: finished; the picture is $PWD/$demo/result.png"
