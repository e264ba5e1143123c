#!/usr/bin/env bash
# StackGAN's two stages on drawn birds: data, text encoder, Stage I, Stage II, images, scores, table. About 45 minutes on
# two CPU cores. Every line is a command you can type yourself; `gancli COMMAND --help` explains it.
#
#   bash recipes/stackgan/demo.sh [FOLDER]        everything is written below FOLDER (default: stackgan-demo)
#
# A folder that has been begun is continued: what is finished is not made again, only sampled and scored.
set -euo pipefail

out=${1:-stackgan-demo}
mkdir -p "$out"
cd "$out"

say() { printf '\n== %s\n' "$*" >&2; }

say "1/6  2,000 drawn birds with ten captions each"
gancli prepare demo --out data/demo --images 2000 --image-size 64 --seed 0

say "2/6  the character encoder beside the image features of a DAMSM, and a classifier of the test species that only scores"
[ -d encoders/damsm-demo ] ||
    gancli pretrain-encoder damsm data=data/demo --out encoders/damsm-demo --runs runs/encoders
[ -d encoders/char-cnn-rnn-demo ] ||
    gancli pretrain-encoder char-cnn-rnn data=data/demo features.encoder=encoders/damsm-demo \
        --out encoders/char-cnn-rnn-demo --runs runs/encoders
[ -d encoders/judge ] ||
    gancli pretrain-encoder classifier data=data/demo split=test --seed 1 --out encoders/judge --runs runs/encoders

say "3/6  Stage I: 32 pixels"
stage1=runs/0001-stackgan-demo-stage1
if [ -d "$stage1" ]; then
    gancli train stackgan --resume "$stage1"
else
    gancli train stackgan stage=1 data=data/demo encoder=encoders/char-cnn-rnn-demo --runs runs
fi

say "4/6  Stage II: 64 pixels, from Stage I's images and the sentence once more"
stage2=runs/0002-stackgan-demo-stage2
if [ -d "$stage2" ]; then
    gancli train stackgan --resume "$stage2"
else
    gancli train stackgan stage=2 "init.stage1=$stage1" data=data/demo encoder=encoders/char-cnn-rnn-demo --runs runs
fi

say "5/6  images of the test captions from both stages, before and after training"
for stage in 1 2; do
    run=stage$stage
    gancli sample "${!run}/initial" --data data/demo --split test --out "images/stage$stage-untrained" --overwrite
    gancli sample "${!run}" --data data/demo --split test --out "images/stage$stage" --overwrite
done
gancli sample "$stage2" --text "a small red bird with blue wings and a white belly" \
    --text "this large bird is yellow with a black crown" --variants 6 --vary condition --grid variants --stages \
    --out images/own-words --overwrite
gancli sample "$stage2" --interpolate "a small red bird" "a large blue bird" --steps 8 --variants 3 \
    --out images/interpolation --overwrite

say "6/6  scores: distances and Inception score by the classifier, agreement by an oracle that is no neural network"
rm -f results.csv results-untrained.csv
for stage in 1 2; do
    gancli score fid data/demo:test "images/stage$stage-untrained" --features encoder:encoders/judge \
        --results results-untrained.csv
    gancli score fid data/demo:test "images/stage$stage" --features encoder:encoders/judge
    gancli score is "images/stage$stage" --network classifier:encoders/judge
    gancli score agreement "images/stage$stage"
done
gancli score table stackgan --results results.csv --out tables

cat <<END

Images:    $PWD/images  (variants of the condition: own-words/figures, an interpolation: interpolation/figures)
Scores:      $PWD/results.csv  (before training: $PWD/results-untrained.csv)
Tables:      $PWD/tables
Run folders: $PWD/$stage1 and $PWD/$stage2
END
