#!/usr/bin/env bash
# Trains the built-in styles, one after the other, and puts each into this folder when it is done. The same command goes on where it was
# stopped: by Ctrl-C, by a crash, or after a style.
#   bash apps/builtin/train_styles.sh --data DIR --weights FILE --paintings DIR [--work DIR] [--steps N] [--preview FILE] [NAME...]
#     --data       folder of photos to learn on
#     --weights    VGG-19, .mat or .safetensors
#     --paintings  folder with starry_night.jpg, great_wave.jpg and composition_vii.jpg; not needed for stained_glass and woodcut,
#                  which minidl_demo_pictures makes
#     --work       where states, previews and curves go (build/styles)
#     --steps      updates of each net, of two photos each (3000)
#     --preview    photo that is painted as the net learns
#     NAME         styles to train (all)
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
bin="${MINIDL_BIN:-$root/build/release/bin}"
data="" weights="" paintings="" preview="" work="$root/build/styles" steps=3000
names=()

usage() {
  echo "train_styles.sh: $1" >&2
  sed -n '4p' "${BASH_SOURCE[0]}" | cut -c3- >&2
  exit 2
}

while (($#)); do
  case "$1" in
    --data | --weights | --paintings | --preview | --work | --steps)
      (($# > 1)) || usage "$1 needs a value"
      declare "${1#--}=$2"
      shift 2
      ;;
    -*) usage "there is no flag $1" ;;
    *) names+=("$1") && shift ;;
  esac
done
[[ -d "$data" ]] || usage "--data '$data' is not a folder"
[[ -f "$weights" ]] || usage "--weights '$weights' is not a file"
[[ -x "$bin/nst_train_fast" ]] || usage "$bin/nst_train_fast is not built: cmake --build --preset release"
((${#names[@]})) || names=(stained_glass woodcut starry_night great_wave composition_vii)

# Style picture and what differs from style to style.
picture_of() {
  case "$1" in
    stained_glass | woodcut)
      [[ -f "$work/pictures/$1.png" ]] || "$bin/minidl_demo_pictures" "$work/pictures" --size 768 --only "$1"
      echo "$work/pictures/$1.png"
      ;;
    starry_night | great_wave | composition_vii) echo "$paintings/$1.jpg" ;;
    *) usage "there is no style $1" ;;
  esac
}
settings_of() {
  case "$1" in
    stained_glass) echo "--style-size 640 --beta 10" ;;
    woodcut) echo "--style-size 640 --beta 5" ;;  # its lines cover every surface: more of the photo
    *) ;;  # paintings as they are
  esac
}

for name in "${names[@]}"; do
  picture="$(picture_of "$name")"
  [[ -f "$picture" ]] || usage "$name is learned from '$picture', which is missing (--paintings)"
done
mkdir -p "$work"
for name in "${names[@]}"; do
  net="$work/$name.safetensors"
  if [[ ! -f "$net" ]]; then
    echo "train_styles.sh: $name"
    read -r -a settings <<<"$(settings_of "$name")"
    "$bin/nst_train_fast" --style "$(picture_of "$name")" --data "$data" --weights "$weights" --output "$net" --width 16 --storage f16 \
      --steps "$steps" --batch 2 --zoom 2 --precision bf16 --seed 1 --checkpoint-every 200 --resume --cache "$work/photos.cache" \
      --plot "$work/$name.svg" --json "$work/$name.json" ${preview:+--preview "$preview"} "${settings[@]}"
  fi
  cp "$net" "$work/$name.copy" && mv "$work/$name.copy" "$here/$name.safetensors"
  echo "train_styles.sh: $here/$name.safetensors, $(stat -c %s "$net") bytes; apps/builtin/CMakeLists.txt lists it"
done
