#!/usr/bin/env bash
# data.shuffle: lanes as a user meets it: the same weights at any number of ranks and across a stop within an epoch, damaged
# chunks that stop all ranks with one message or are left out by all, warnings about files that are slow to read.
# Usage: tests/cli/test_lanes.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

import_fashion images.h5
cat >lanes.yaml <<'YAML'
name: lanes
seed: 3
data: {file: images.h5, valid: 0.05, shuffle: lanes, shuffle_buffer_mb: 16}
model: [flatten, {dense: 64}, relu, {dropout: 0.2}, {dense: 10}]
optimizer: {name: sgd, lr: 0.1, momentum: 0.9}
train: {epochs: 2, batch: 250, clip_norm: 0.5}
sync: {shards: 8}
YAML

say "$data_name in lanes"
run r1 train lanes.yaml --run r1 --quiet
whole=$(end_of r1 weights_sha256)
history r1 >one
for how in r2 r3 r5 r3-mpi j3 j8 r2j2; do
  run "$how" train lanes.yaml --run "$how" --quiet
  check "the weights of $how are those of one rank" "$whole" "$(end_of "$how" weights_sha256)"
  history "$how" >other
  holds 'and so is every loss and score' cmp one other
done
contains 'config.yaml says the order' 'shuffle: lanes' r1/config.yaml
run j2 train lanes.yaml --run full --quiet --set data.shuffle=full
holds 'another order gives other weights' test "$whole" != "$(end_of full weights_sha256)"
run r3 eval --run r1 --split valid --json
score=$(field loss out)
run alone eval --checkpoint r1/checkpoints/latest --split valid --json
check 'eval of the checkpoint is the same by 3 ranks and alone' "$score" "$(field loss out)"

say 'stopped within an epoch by 3 ranks, to the end by 2'
interrupted r3 50 USR1 parts lanes.yaml
check 'SIGUSR1 ends with 75' 75 "$code"
run alone inspect parts --json
holds 'within the epoch' test "$(field step_in_epoch out)" -gt 0
run r2 train lanes.yaml --run parts --quiet
check 'the weights are those of the run without a stop' "$whole" "$(end_of parts weights_sha256)"

say 'a damaged chunk'
cp images.h5 hurt.h5
"$DLDIST_H5" hurt hurt.h5 train/x 1000
for order in lanes full; do
  try r3 train lanes.yaml --run "stops-$order" --set data.file=hurt.h5 --set data.shuffle="$order"
  check "stops 3 ranks with 3 ($order)" 3 "$code"
  check 'and one message' 1 "$(grep -c 'is damaged in rows' err)"
  contains 'that names file and data set' "hurt.h5: 'train/x' is damaged in rows" err
  contains 'the chunk and what is wrong' '0, 0)): its Fletcher32 checksum is wrong' err
  contains 'and what to do' 'data.on_corrupt: skip' err
  for how in r1 r3 j2; do
    run "$how" train lanes.yaml --run "skips-$order-$how" --set data.file=hurt.h5 --set data.shuffle="$order" \
      --set data.on_corrupt=skip
    contains 'skip says which rows are left out' 'these rows are left out' err
    check "and trains to the same weights by $how" "$(end_of "skips-$order-r1" weights_sha256)" \
      "$(end_of "skips-$order-$how" weights_sha256)"
  done
done
holds 'which are not those of the whole file' test "$whole" != "$(end_of skips-lanes-r1 weights_sha256)"

say 'what cannot be'
try r2 train lanes.yaml --run few --set data.shuffle_buffer_mb=1
check 'a buffer that is too small is wrong usage' 2 "$code"
contains 'which says how large it must be' 'set data.shuffle_buffer_mb to at least' err
try alone train lanes.yaml --run none --set data.shuffle=lane
check 'a misspelt order is wrong usage' 2 "$code"

say 'dldist bench loader'
run j2 bench loader --data images.h5 --epochs 1
contains 'says how fast batches come' 'GB/s of floats written' out
run r3 bench loader --data images.h5 --epochs 1 --set data.shuffle=full
contains 'in any order' 'shuffle full' out
try alone bench loader
check 'and wants a file' 2 "$code"
try alone bench loader --data hurt.h5
check 'that is whole' 3 "$code"

finish
