#!/usr/bin/env bash
# Trains the built-in models, one after the other, and puts each into this folder when it is done. The same command goes on where it was
# stopped: by Ctrl-C, by a crash, or after a model.
#   bash apps/builtin/train.sh --data DIR --weights FILE --paintings DIR [--work DIR] [--preview FILE] [NAME...]
#     --data       folder of photos to learn on
#     --weights    VGG-19, .mat or .safetensors
#     --paintings  folder with composition_vii.jpg, great_wave.jpg, shipwreck.jpg, starry_night.jpg, udnie.jpg and woman_with_hat.jpg for
#                  small_vgg19, and the_scream.jpg with --preview; with NAME.jpg for a style
#     --work       where states, previews and curves go (build/builtin)
#     --preview    photo to look at: styles paint it as they learn, the network is judged by it
#     NAME         small_vgg19, which is the network for optimisation, and styles: stained_glass, woodcut, starry_night, the_scream,
#                  composition_vii (all)
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
bin="${MINIDL_BIN:-$root/build/release/bin}"
data="" weights="" paintings="" preview="" work="$root/build/builtin"
names=()

usage() {
  echo "train.sh: $1" >&2
  sed -n '4p' "${BASH_SOURCE[0]}" | cut -c3- >&2
  exit 2
}

while (($#)); do
  case "$1" in
    --data | --weights | --paintings | --preview | --work)
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
[[ -x "$bin/nst_train_fast" && -x "$bin/nst_distill" ]] || usage "$bin has no programs: cmake --build --preset release"
((${#names[@]})) || names=(small_vgg19 stained_glass woodcut starry_night the_scream composition_vii)
mkdir -p "$work/pictures"

network_styles=(composition_vii great_wave shipwreck starry_night udnie woman_with_hat style stained_glass woodcut)
is_generated() {  # by our own program
  [[ "$1" == style || "$1" == stained_glass || "$1" == woodcut ]]
}
picture_of() {
  if is_generated "$1"; then echo "$work/pictures/$1.png"; else echo "$paintings/$1.jpg"; fi
}
need() {  # the pictures of these names, before anything else is done
  local name
  for name in "$@"; do
    if is_generated "$name" && [[ ! -f "$work/pictures/$name.png" ]]; then
      "$bin/minidl_demo_pictures" "$work/pictures" --size 768 --only "$name"
    fi
    [[ -f "$(picture_of "$name")" ]] || usage "'$(picture_of "$name")' is missing (--paintings)"
  done
}

train_network() {  # FILE; The Scream is not among what it learns from, and judges
  local name judged=()
  rm -rf "$work/network_styles"
  mkdir "$work/network_styles"
  for name in "${network_styles[@]}"; do
    cp "$(picture_of "$name")" "$work/network_styles/"
  done
  if [[ -n "$preview" ]]; then
    judged=(--validation-content "$preview" --validation-style "$(picture_of starry_night)"
      --validation-content "$preview" --validation-style "$(picture_of the_scream)")
  fi
  "$bin/nst_distill" --data "$data" --styles "$work/network_styles" --weights "$weights" --output "$1" --widths 16,48,96,256,256 \
    --storage i8 --steps 4000 --precision bf16 --student-precision bf16 --seed 1 \
    --attribution "distilled from VGG-19 by K. Simonyan and A. Zisserman, CC BY 4.0" \
    --validate-every 1000 --checkpoint-every 200 --resume --cache "$work/network.cache" --plot "$work/small_vgg19.svg" \
    --json "$work/small_vgg19.json" "${judged[@]}"
}

train_style() {  # NAME FILE
  local steps=3000 settings=()
  case "$1" in
    stained_glass) settings=(--style-size 640 --beta 10) ;;
    woodcut) settings=(--style-size 640 --beta 5) ;;  # its lines cover every surface: more of the photo
    starry_night) steps=4000 ;;
    *) ;;
  esac
  "$bin/nst_train_fast" --style "$(picture_of "$1")" --data "$data" --weights "$weights" --output "$2" --width 16 --storage f16 \
    --steps "$steps" --batch 2 --zoom 2 --precision bf16 --seed 1 --checkpoint-every 200 --resume --cache "$work/photos.cache" \
    --plot "$work/$1.svg" --json "$work/$1.json" ${preview:+--preview "$preview"} "${settings[@]}"
}

for name in "${names[@]}"; do
  case "$name" in
    small_vgg19)
      need "${network_styles[@]}"
      [[ -z "$preview" ]] || need the_scream
      ;;
    stained_glass | woodcut | starry_night | the_scream | composition_vii) need "$name" ;;
    *) usage "there is no model $name" ;;
  esac
done
for name in "${names[@]}"; do
  file="$work/$name.safetensors"
  if [[ ! -f "$file" ]]; then
    echo "train.sh: $name"
    if [[ "$name" == small_vgg19 ]]; then train_network "$file"; else train_style "$name" "$file"; fi
  fi
  cp "$file" "$work/$name.copy"
  mv "$work/$name.copy" "$here/$name.safetensors"
  echo "train.sh: $here/$name.safetensors, $(stat -c %s "$file") bytes; apps/builtin/CMakeLists.txt lists it"
done
