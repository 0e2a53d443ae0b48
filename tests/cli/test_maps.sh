#!/usr/bin/env bash
# Segmentation, a class for every pixel: it learns, gives the same bits by whomever, evaluates and predicts maps, and says what does
# not fit.
# Usage: tests/cli/test_maps.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$DLDIST_H5" make maps maps.h5
cat >c.yaml <<'YAML'
name: maps
seed: 3
task: segmentation
data: {file: maps.h5, valid: 0.1, augment: [flip_horizontal, flip_vertical, {random_crop: 2}]}
model:
  - conv2d: {filters: 8, kernel: 3, padding: same}
  - relu: {name: fine}
  - maxpool2d: 2
  - conv2d: {filters: 12, kernel: 3, padding: same}
  - relu
  - upsample2d: {scale: 2, name: coarse}
  - concat: {from: [coarse, fine]}
  - conv2d: {filters: 3, kernel: 1}
loss: {name: cross_entropy, ignore_index: 255}
optimizer: {name: adam, lr: 0.01}
train: {epochs: 12, batch: 35}
sync: {shards: 8}
YAML

say '== it learns'
run j2 train c.yaml --run one
contains 'the table has its headline' 'valid mean_iou' err
events eval one | grep '"split":"test"' >test.line
check 'the labels are found' yes "$(field mean_iou test.line | awk '{ print ($1 > 0.9 ? "yes" : $1) }')"
check 'pixels are judged, but for those without a label' 3780 "$(sed 's/.*"support":\[\([^]]*\)\].*/\1/' test.line | tr ',' '\n' | awk '{ n += $1 } END { print n }')"
run r2 eval --run one --json
check 'dldist eval finds the same' "$(field mean_iou test.line)" "$(field mean_iou out)"
contains 'with a row of figures for each class' '"iou":[' out

say '== the same bits by whomever'
for how in j1 r3 r5 r2-mpi; do
  run "$how" train c.yaml --run "by-$how" --quiet
  check "$how: weights" "$(end_of one weights_sha256)" "$(end_of "by-$how" weights_sha256)"
done
run r3 train c.yaml --run parts --quiet --set train.epochs=3
run j2 train c.yaml --run parts --quiet
check 'in two parts: weights' "$(end_of one weights_sha256)" "$(end_of parts weights_sha256)"

say '== predictions'
run r2 predict --run one --data maps.h5 -o p.h5
run alone data info p.h5
contains 'labels are maps' 'labels   int64     (60, 8, 8)' out
contains 'scores an image a class' 'scores   float32   (60, 3, 8, 8)' out
"$DLDIST_H5" print p.h5 labels | tr ' ' '\n' >found
"$DLDIST_H5" print p.h5 y | tr ' ' '\n' >truth
"$DLDIST_H5" print maps.h5 test/y | tr ' ' '\n' >file
holds 'the truth is the one of the file' cmp truth file
check 'as many are right as the evaluation says' yes \
  "$(paste found truth | awk -v want="$(field accuracy test.line)" '$2 != 255 { n++; right += $1 == $2 } END { d = right / n - want; print (d * d < 1e-20 ? "yes" : right / n " " want) }')"
"$DLDIST_H5" print p.h5 scores | awk '{ for (p = 1; p <= 64; p++) { b = 0; for (c = 1; c < 3; c++) if ($(c * 64 + p) > $(b * 64 + p)) b = c; print b } }' >largest
holds 'a label is the class of the largest score' cmp largest found

say '== labels of another size than the images'
"$DLDIST_H5" make half half.h5
half=(--set data.file=half.h5 --set data.augment=null --set 'model=[{conv2d: {filters: 8, kernel: 3, padding: same}}, relu, {maxpool2d: 2}, {conv2d: {filters: 3, kernel: 3, padding: same}}]')
run j2 train c.yaml --run half --quiet "${half[@]}"
run r3 train c.yaml --run half-r3 --quiet "${half[@]}"
check 'they are learnt, with the same bits' "$(end_of half weights_sha256)" "$(end_of half-r3 weights_sha256)"
run r2 predict --run half --data half.h5 -o q.h5
run alone data info q.h5
contains 'and predicted in their size' 'labels   int64     (60, 4, 4)' out
try j2 eval --run half --data maps.h5
check 'truth of another size: exit code' 3 "$code"
contains 'both are told' "the data set's maps have 8 x 8 labels, but the model gives 4 x 4" err
run j2 predict --run half --data maps.h5 -o q.h5
contains 'for a prediction it is left out' 'maps of labels are of another size than what the model gives: they are left out' err
run alone data info q.h5
holds 'so the file has none' test -z "$(grep '^y ' out || true)"
"$DLDIST_H5" make odd odd.h5
try r2 eval --run one --data odd.h5
check 'as many labels of another form are not judged' 3 "$code"
contains 'their form is told' "the data set's maps have 4 x 16 labels, but the model gives 8 x 8" err
try r2 train c.yaml --run bad --set data.file=half.h5
check 'labels that cannot be moved with the image' 2 "$code"
contains 'at the place of what moves it' 'c.yaml:4:' err

say '== a prediction that is stopped'
for signal in TERM HUP; do
  "$DLDIST" predict --run one --data maps.h5 --split train -o "$signal.h5" -j 1 2>/dev/null &
  pid=$!
  for _ in $(seq 400); do
    if compgen -G "$signal.h5*" >/dev/null; then break; fi
    sleep 0.005
  done
  kill -"$signal" "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  check "leaves the whole file or nothing (SIG$signal)" '' "$(compgen -G "$signal.h5.tmp-*" || true)"
done

say '== nothing to judge, nothing to learn'
"$DLDIST_H5" make void void.h5
run j2 eval --run one --data void.h5 --json
contains 'a split without a label has no loss' '"loss":null' out

say '== other ways to read'
for how in j1 r3; do
  run "$how" train c.yaml --run "lanes-$how" --quiet --set data.shuffle=lanes
  run "$how" train c.yaml --run "skip-$how" --quiet --set data.on_corrupt=skip
  run "$how" train c.yaml --run "ps-$how" --quiet --set sync.mode=ps
done
for way in lanes skip ps; do check "$way: the same weights" "$(end_of $way-j1 weights_sha256)" "$(end_of $way-r3 weights_sha256)"; done
check 'skipping nothing is the same as stopping at nothing' "$(end_of one weights_sha256)" "$(end_of skip-j1 weights_sha256)"

say '== weights of classes and samples'
run j2 train c.yaml --run balanced --quiet --set loss.class_weights=balanced --set data.valid=null
check 'balanced weights are counted by pixel' \
  "$("$DLDIST_H5" print maps.h5 train/y | tr ' ' '\n' | awk '$1 < 3 { n[$1]++; all++ } END { printf "%.4g %.4g %.4g\n", all / 3 / n[0], all / 3 / n[1], all / 3 / n[2] }')" \
  "$(sed -n 's/.*class_weights: \[\(.*\)\].*/\1/p' balanced/config.yaml | tr -d ',' | awk '{ printf "%.4g %.4g %.4g\n", $1, $2, $3 }')"
holds 'and change the weights' test "$(end_of balanced weights_sha256)" != "$(end_of one weights_sha256)"

say '== what does not fit'
try j2 train c.yaml --run bad --set 'loss={name: cross_entropy}'
check 'a label that is none and not said to be: exit code' 3 "$code"
contains 'is told with its file' "has the label 255 in row 0, but the model has 3 outputs" err
try r2 train c.yaml --run bad --set 'model=[{conv2d: {filters: 3, kernel: 3}}]'
check 'an output of another size: exit code' 2 "$code"
contains 'is told with both' 'here (classes, 8, 8) as the labels are, but this is (3, 6, 6)' err
try alone train c.yaml --run bad --set task=classification
check 'a map is no label' 3 "$code"
try alone train c.yaml --run bad --set loss=mse
check 'a loss of values' 2 "$code"

finish
