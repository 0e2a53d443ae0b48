#!/usr/bin/env bash
# What the options of loss, optimizer and schedule do to a whole run: weights of samples and classes, labels that do not count,
# penalties, norms of tensors at any number of members, a schedule that watches the validation loss, a loss that is not finite.
# Usage: tests/train/test_training_options.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"

# near SENTENCE ONE OTHER: the numbers of two files agree to 1e-5.
near() {
  if paste "$2" "$3" | awk '{ d = $1 - $2; if (d < 0) d = -d; if (NF != 2 || d > 1e-5 * ($1 < 0 ? -$1 : $1)) exit 1; n++ }
                            END { exit n < 10 }'; then
    say "ok: $1"
  else
    printf 'FAILED: %s\n%s\n' "$1" "$(paste "$2" "$3" | head -n 12)"
    failed=1
  fi
}
losses() { events step "$1" | sed 's/.*"loss":\([^,]*\).*/\1/'; }
rates() { events step "$1" | sed 's/.*"lr":\([^,]*\).*/\1/'; }
accuracy() { events eval "$1" | tail -n 1 | sed 's/.*"accuracy":\([^,}]*\).*/\1/'; }

# ---- samples and labels that weigh more, or nothing: all of train in one step, so that the order does not matter ----

for kind in part ignored twice weighted; do "$DLDIST_H5" make "$kind" "$kind.h5"; done
cat >c.yaml <<'YAML'
name: weigh
model: [{dense: 8}, tanh, {dense: 3}]
optimizer: {name: sgd, lr: 0.5, momentum: 0.9}
train: {epochs: 20, batch: 600}
sync: {shards: 4}
YAML
run alone train c.yaml --set data.file=part.h5 --run part --quiet
run j2 train c.yaml --set data.file=ignored.h5 --set loss.name=cross_entropy --set loss.ignore_index=-100 --run ignored --quiet
run alone train c.yaml --set data.file=twice.h5 --run twice --quiet
run j3 train c.yaml --set data.file=weighted.h5 --set data.train.weight=train/weight --run weighted --quiet
for name in part ignored twice weighted; do losses "$name" >"$name.losses"; done
near 'samples with the ignored label teach nothing' part.losses ignored.losses
check 'and do not count in the scores' "$(accuracy part)" "$(accuracy ignored)"
near 'a weight of 2 is the sample twice, a weight of 0 is no sample' twice.losses weighted.losses
try alone train c.yaml --set data.file=ignored.h5 --run without --quiet
check 'without ignore_index such a label is bad data' 3 "$code"
contains 'and the message says where' 'label -100 in row 400' err
run alone train c.yaml --set data.file=ignored.h5 --set data.valid=0.2 --set loss.name=cross_entropy \
  --set loss.ignore_index=-100 --run cut --quiet

# ---- balanced classes: the weights in force stand in config.yaml, and repeat the run ----

run alone train c.yaml --set data.file=part.h5 --set loss.name=cross_entropy --set loss.class_weights=balanced --run balanced --quiet
counts=$("$DLDIST_H5" print part.h5 train/y | sort -n | uniq -c | awk '{ printf "%s%.5f", (NR > 1 ? " " : ""), 400 / (3 * $1) }')
check 'balanced is samples / (classes * samples of the class)' "$counts" \
  "$(sed -n 's/.*class_weights: \[\(.*\)\].*/\1/p' balanced/config.yaml | tr ',' '\n' | awk '{ printf "%s%.5f", (NR > 1 ? " " : ""), $1 }')"
run j2 train balanced/config.yaml --run again --quiet
check 'and config.yaml repeats it' "$(end_of balanced weights_sha256)" "$(end_of again weights_sha256)"
run alone train c.yaml --set data.file=part.h5 --set loss.name=cross_entropy --set loss.class_weights=balanced --run balanced
contains 'the word that they stand for goes on with the same run' 'is completed' err
try alone train c.yaml --set data.file=part.h5 --set loss.name=cross_entropy --set 'loss.class_weights=[1, 2]' --run few --quiet
check 'too few class weights are an error of use' 2 "$code"
contains 'with their number' 'class_weights has 2 weights, but the model has 3 outputs' err

# ---- penalties: in the steps, not in the logged loss ----

run alone train c.yaml --set data.file=part.h5 --set optimizer.l2=0.01 --set optimizer.l1=0.01 --run penal --quiet
losses penal >penal.losses
check 'the logged loss is without penalties' "$(sed -n 1p part.losses)" "$(sed -n 1p penal.losses)"
holds 'but they change what is learnt' test "$(sed -n 20p part.losses)" != "$(sed -n 20p penal.losses)"

# ---- optimizers that need norms of tensors: the same bits however many members there are ----

cat >big.yaml <<YAML
name: norms
data: {file: "$DIGITS", valid: 0.1}
model: [flatten, {dense: 50}, relu, {dropout: 0.1}, {dense: 10}]
train: {epochs: 2, batch: 97, clip_norm: 0.5}
sync: {shards: 6}
YAML
for optimizer in '{name: lamb, lr: 0.01, l1: 0.0001}' '{name: lars, lr: 10, trust: 0.01, l2: 0.001, decay_biases: false, weight_decay: 0.01}'; do
  rm -rf first
  run alone train big.yaml -j 1 --set "optimizer=$optimizer" --run first --quiet
  for how in j2 j3 j4-mpi j5 j8 j8-mpi r3 r2-mpi; do
    rm -rf other
    run "$how" train big.yaml --set "optimizer=$optimizer" --run other --quiet
    check "$optimizer by $how" "$(end_of first weights_sha256)" "$(end_of other weights_sha256)"
  done
done

# ---- plateau: what it has seen survives a resume ----

plateau=(--set 'schedule={name: plateau, patience: 0, factor: 0.5, threshold: 0.3}' --set 'optimizer={name: adam, lr: 0.01}')
run alone train big.yaml "${plateau[@]}" --set train.epochs=9 --run whole --quiet
run j2 train big.yaml "${plateau[@]}" --set train.epochs=4 --run parts --quiet
run j3 train big.yaml "${plateau[@]}" --set train.epochs=9 --run parts --quiet
rates whole >whole.rates
rates parts >parts.rates
holds 'the learning rate falls at a plateau' test "$(sort -u whole.rates | wc -l)" -ge 3
holds 'and a resume goes on with what was seen' cmp whole.rates parts.rates
check 'to the same weights' "$(end_of whole weights_sha256)" "$(end_of parts weights_sha256)"
try j2 train big.yaml "${plateau[@]}" --set data.valid=null --run no-valid --quiet
check 'without a validation split it is an error of use' 2 "$code"
contains 'that says what to do' 'set data.valid' err

# ---- a warm-up that outlasts the run ----

run j2 train big.yaml --set train.epochs=1 --set 'schedule={name: cosine, warmup_steps: 100000}' --run warm --quiet
check 'a warm-up longer than the run is a warning, said once' 1 "$(events warning warm | grep -c '"warmup"')"

# ---- not finite ----

for how in j1 j3 r2-mpi; do
  try "$how" train big.yaml --set 'optimizer={name: sgd, lr: 1e6, l2: 10}' --set train.clip_norm=0 --run "nan-$how" --quiet
  check "a loss that is not finite ends the run ($how)" 4 "$code"
  sed 's/nan-[a-z0-9-]*//' err >"message-$how"
done
contains 'with the step' 'training failed at step' message-j1
contains 'with the layer' 'first appears in the output of layers.4 (dense)' message-j1
contains 'with advice' 'lower optimizer.lr' message-j1
check 'the same for any number of members' "$(cat message-j1)" "$(cat message-j3)"
check 'and transport' "$(cat message-j1)" "$(cat message-r2-mpi)"
"$DLDIST_H5" make line line.h5
cat >line.yaml <<'YAML'
name: steep
task: regression
data: {file: line.h5, normalize: none}
model: [{dense: 8}, {dense: 8}, {dense: 1}]
optimizer: {name: sgd, lr: 100}
train: {epochs: 1, batch: 100}
sync: {shards: 4}
YAML
for how in j1 j3-mpi; do
  try "$how" train line.yaml --run "steep-$how" --quiet
  check "squares that overflow in the gradient, not in the loss ($how)" 4 "$code"
  contains 'are told by the layer nearest the loss' \
    'step 3 (epoch 1): the gradient norm is not finite: it first appears in the gradient of layers.2 (dense)' err
done
try alone train c.yaml --set data.file=part.h5 --set loss.name=cross_entropy --set 'loss.class_weights=[0, 0, 0]' --run none --quiet
check 'a batch that weighs nothing ends the run too' 4 "$code"
contains 'and is called so' 'the batch weighs nothing' err

finish
