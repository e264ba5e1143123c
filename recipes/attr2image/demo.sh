#!/usr/bin/env bash
# attr2image on drawn birds: data, silhouettes from attributes with the ablation of the paper's Fig. 2, images on them,
# scores, tables. About 45 minutes on two CPU cores. Every line is a command you can type yourself; `gancli COMMAND --help`
# explains it.
#
#   bash recipes/attr2image/demo.sh [FOLDER]        everything is written below FOLDER (default: attr2image-demo)
#
# A folder that has been begun is continued: what is finished is not made again, only sampled and scored.
set -euo pipefail

out=${1:-attr2image-demo}
mkdir -p "$out"
cd "$out"

say() { printf '\n== %s\n' "$*" >&2; }

# train RUN OVERRIDE…: a new run, which gets that number and name, or the one that is there, to its end
train() {
    local run=$1
    shift
    if [ -d "$run" ]; then
        gancli train attr2image --resume "$run"
    else
        gancli train attr2image data=data/demo "$@" --runs runs
    fi
}

say "1/5  2,000 drawn birds with attributes and silhouettes"
gancli prepare demo --out data/demo --images 2000 --image-size 64 --seed 0

say "2/5  stage=shape: as in the paper, then Fig. 2: without attributes, with and without the local discriminator"
shape=runs/0001-attr2image-demo-shape
train $shape stage=shape
train runs/0002-attr2image-demo-shape stage=shape model.conditional=false
train runs/0003-attr2image-demo-shape stage=shape model.conditional=false model.local=false

say "3/5  stage=image: images on the silhouettes of the data, for drawing together with those of the first run"
image=runs/0004-attr2image-demo-image
train $image stage=image init.shape=$shape

say "4/5  silhouettes of all three; images on drawn and on given silhouettes; the paper's figures 4 and 5"
for number in 1 2 3; do
    gancli sample runs/000$number-attr2image-demo-shape --data data/demo --split test --out images/shapes$number \
        --overwrite
done
gancli sample $image --data data/demo --split test --out images/both --stages --overwrite
gancli sample $image --data data/demo --split test --shape data --out images/given --overwrite
gancli sample $image --data data/demo --split test -n 8 --grid same-shape --variants 3 --out images/same-shape --overwrite
gancli sample $image --attr primary_color=red --attr belly_color=white --attr wing_color=black --attr size=large \
    --variants 8 --grid same-attributes --out images/same-attributes --overwrite

say "5/5  scores of silhouettes without a network; agreement by an oracle that is no neural network"
rm -f results.csv
for number in 1 2 3; do
    gancli score shapes images/shapes$number --features pixels
done
gancli score agreement images/both
gancli score agreement images/given
gancli score table attr2image --results results.csv --out tables

cat <<END

Images:    $PWD/images  (Figs. 4 and 5: same-shape/figures, same-attributes/figures)
Scores:      $PWD/results.csv
Tables:      $PWD/tables
Run folders: $PWD/runs
END
