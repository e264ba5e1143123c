#!/usr/bin/env bash
# The whole way once, on drawn birds: data, encoder, FF-GAN, images, scores, table. About 15 minutes on two CPU cores.
# Every line is a command you can type yourself; `gancli COMMAND --help` explains it.
#
#   bash recipes/quickstart.sh [FOLDER]        everything is written below FOLDER (default: quickstart)
#
# A folder that has been begun is continued: what is finished is not made again, only sampled and scored.
set -euo pipefail

out=${1:-quickstart}
mkdir -p "$out"
cd "$out"

say() { printf '\n== %s\n' "$*" >&2; }

say "1/6  2,000 drawn birds with ten captions each"
gancli prepare demo --out data/demo --images 2000 --image-size 64 --seed 0

say "2/6  a text and image encoder, and a second one from another seed that only scores"
[ -d encoders/damsm-demo ] ||
    gancli pretrain-encoder damsm data=data/demo --seed 0 --out encoders/damsm-demo --runs runs/encoders
[ -d encoders/judge ] ||
    gancli pretrain-encoder damsm data=data/demo --seed 1 --out encoders/judge --runs runs/encoders

say "3/6  FF-GAN"
run=runs/0001-ffgan-demo
if [ -d "$run" ]; then
    gancli train ffgan --resume "$run"
else
    gancli train ffgan data=data/demo encoder=encoders/damsm-demo --runs runs
fi

say "4/6  images of the test captions, from the trained generator and from the same one before its first step"
gancli sample "$run" --data data/demo --split test --out images/trained --overwrite
gancli sample "$run/initial" --data data/demo --split test --out images/untrained --overwrite
gancli sample "$run" --text "a small red bird with blue wings and a white belly" \
    --text "this large bird is yellow with a black crown" --variants 4 --stages --attention \
    --out images/own-words --overwrite

say "5/6  scores, by the second encoder and by an oracle that is no neural network"
rm -f results.csv results-untrained.csv
gancli score fid data/demo:test images/untrained --features encoder:encoders/judge --results results-untrained.csv
gancli score fid data/demo:test images/trained --features encoder:encoders/judge
gancli score r-precision images/trained --encoder encoders/judge
gancli score agreement images/trained

say "6/6  the paper's tables with our rows"
gancli score table ffgan --results results.csv --out tables

cat <<END

Images:    $PWD/images/trained  (your own words: $PWD/images/own-words)
Sample grids while it trained:  $PWD/$run/samples
Scores:      $PWD/results.csv  (before training: $PWD/results-untrained.csv)
Tables:      $PWD/tables
Run folder:  $PWD/$run
END
