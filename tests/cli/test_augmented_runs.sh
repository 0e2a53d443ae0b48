#!/usr/bin/env bash
# Augmentation says what is computed, so nothing of it depends on who computes: the same bits at any number of members and across
# a resume at another number; training alone is augmented; what a configuration says wrongly about it is told at its place.
# Usage: tests/cli/test_augmented_runs.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# 1,617 samples = 35 * 45 + 42: the shards never divide the batch.
cat >c.yaml <<YAML
name: augment
seed: 7
data: {file: "$DIGITS", valid: 0.1, normalize: per_channel, augment: [flip_horizontal, {random_crop: {padding: 2}}]}
model: [{conv2d: {filters: 4, kernel: 3}}, relu, flatten, {dropout: 0.1}, {dense: 10}]
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
train: {epochs: 2, batch: 45}
sync: {shards: 8}
YAML

weights() { end_of "$1" weights_sha256; }

say '== the same bits by whomever'
for how in j1 j3 r1 r2 r3 r5 r2j2 r2-mpi r3-mpi; do
  run "$how" train c.yaml --run "by-$how" --quiet
  history "by-$how" >"$how.history"
  check "the weights of $how are those of one thread" "$(weights by-j1)" "$(weights "by-$how")"
  holds "and so is every loss and score of $how" cmp j1.history "$how.history"
done
check 'there is a digest' 64 "$(weights by-j1 | tr -d '\n' | wc -c)"
for list in '[]' '[flip_horizontal]' '[flip_horizontal, {random_crop: 1}]' '[{random_crop: 2}, flip_horizontal]'; do
  run j2 train c.yaml --set "data.augment=$list" --run other --resume never --quiet
  holds "$list gives other weights" test "$(weights other)" != "$(weights by-j1)"
done

say '== every kind of augmentation'
# digits are grey: all but random_saturation, in two lists
looks='[{random_crop: 1}, {random_rotation: 20}, flip_horizontal, {random_zoom: 0.2}, {random_resized_crop: 0.5}]'
paints='[{random_brightness: 0.3}, {random_erasing: 0.6}, {random_contrast: 0.4}, {cutout: 3}, flip_vertical]'
for list in "$looks" "$paints"; do
  for how in j1 r3 r5 j2; do run "$how" train c.yaml --set "data.augment=$list" --run "kinds-$how" --resume never --quiet; done
  for how in r3 r5 j2; do check "$list: the weights of $how are those of one thread" "$(weights kinds-j1)" "$(weights "kinds-$how")"; done
  check 'a run that learned' completed "$(end_of kinds-j1 status)"
done

say '== a resume'
run r2 train c.yaml --set train.epochs=1 --run parts --quiet
run j3 train c.yaml --run parts --quiet
check 'two ranks, then three threads: the same weights' "$(weights by-j1)" "$(weights parts)"
run j2 train c.yaml --set train.epochs=1 --run short --quiet
try j2 train c.yaml --set data.augment.1.random_crop.padding=1 --run short --quiet
check 'another padding is another run' 2 "$code"
contains 'the key is named with both values' 'data.augment[1].random_crop.padding differs' err
run j2 train by-r3/config.yaml --run again --quiet
check 'config.yaml repeats the run' "$(weights by-j1)" "$(weights again)"
contains 'and holds the defaults' 'flip_horizontal: {p: 0.5}' by-r3/config.yaml

say '== training alone'
# A rate so small that no weight moves: what differs is what the batches were.
run j2 train c.yaml --set optimizer.lr=1e-40 --set optimizer.momentum=0 --run still --quiet
run j2 train c.yaml --set optimizer.lr=1e-40 --set optimizer.momentum=0 --set data.augment=null --run plain --quiet
check 'the weights stood still' "$(weights still)" "$(weights plain)"
scores() { events eval "$1" | sed 's/"time":[^,]*,//'; }
check 'validation and test see the images as they are' "$(scores plain)" "$(scores still)"
holds 'there was such a score' test -n "$(scores plain)"
holds 'steps do not' test "$(history plain)" != "$(history still)"
run r2 eval --run still --split train --json
cp out still.train
run j2 eval --run plain --split train --json
holds 'nor does an evaluation of the training split' cmp still.train out

say '== what is wrong'
"$DLDIST_H5" make good good.h5
cat >bad.yaml <<'YAML'
data:
  file: good.h5
  augment:
    - flip_horizontal
model: [{dense: 3}]
YAML
for how in j1 j3 r3; do
  try "$how" train bad.yaml --run bad --quiet
  check "features are no images ($how): exit code" 2 "$code"
  contains 'the place is told' 'dldist: error: bad.yaml:4:5: data.augment is for images' err
  check 'once' 1 "$(grep -c . err)"
done
try j2 train c.yaml --set 'data.augment=[flip_horizontal, randm_crop]' --run bad --quiet
check 'an unknown name: exit code' 2 "$code"
contains 'the nearest one is told' "unknown augmentation 'randm_crop' (did you mean 'random_crop'?)" err
try j2 train c.yaml --set data.augment.1.random_crop.padding=8 --run bad --dry-run
check 'a padding as wide as the images: exit code' 2 "$code"
contains 'what is allowed is told' 'padding must be below 8' err
run alone list augmentations
for name in flip_horizontal random_crop random_rotation random_brightness cutout; do contains "$name is in the list" "  $name" out; done

finish
