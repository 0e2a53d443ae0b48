#!/usr/bin/env bash
# Stopping and going on: at the exact sample, at any number of ranks, to the same bits; and what a run's folder allows.
# Usage: tests/cli/test_resume.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

import_fashion images.h5
cat >images.yaml <<'YAML'
name: stopped
data: {file: images.h5, valid: 0.05}
model: [flatten, {dense: 256}, relu, {dropout: 0.2}, {dense: 10}]
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
train: {epochs: 2, batch: 75, clip_norm: 1.0}
sync: {shards: 8}
YAML
cat >digits.yaml <<YAML
name: digits
data: {file: "$DIGITS"}
model: [flatten, {dense: 32}, relu, {dropout: 0.2}, {dense: 10}]
optimizer: {name: adam, lr: 0.003}
train: {epochs: 3, batch: 32}
sync: {shards: 8}
YAML

steps=1520
run j2 train images.yaml --run whole --quiet
check 'a run without a stop has each step once' "1-$steps each once" "$(steps_of whole)"
whole=$(end_of whole weights_sha256)

say 'stopped by SIGUSR1 on 3 ranks, by SIGTERM in 2 threads, by SIGUSR1 to one of 2 ranks, then to the end on 5'
interrupted r3 100 USR1 parts images.yaml
check 'SIGUSR1 in an epoch ends with 75' 75 "$code"
contains 'and says where it stopped and how to go on' 'dldist: stopped at step' err
contains 'naming the folder' '(run again with --run parts to go on)' err
check 'the end of metrics.jsonl is a stop' stopped "$(end_of parts status)"
run alone inspect parts --json
check 'there is a checkpoint of the last step' "$(last_step parts)" "$(field step out)"
holds 'which lies within the epoch' test "$(field step_in_epoch out)" -gt 0
interrupted j2 "$(($(last_step parts) + 100))" TERM parts images.yaml
check 'SIGTERM ends with 75' 75 "$code"
interrupted r2-mpi "$(($(last_step parts) + 100))" one-USR1 parts images.yaml
check 'SIGUSR1 to a single rank ends all with 75' 75 "$code"
stopped_at=$(last_step parts)
holds 'three stops are still short of the end' test "$stopped_at" -lt "$steps"
cp -r parts fork
run r5 train images.yaml --run parts
contains 'the header says where it goes on' "going on after step $stopped_at" err
check 'and the weights are those of the run without a stop' "$whole" "$(end_of parts weights_sha256)"
check 'metrics.jsonl has each step once' "1-$steps each once" "$(steps_of parts)"
history whole >one
history parts >other
holds 'with the same losses, norms and scores' cmp one other

say 'a rank killed at once'
interrupted r2 900 one-KILL killed images.yaml
holds 'ends the job with a failure' test "$code" != 0
holds 'after the checkpoint of the first epoch' test "$(readlink killed/checkpoints/latest)" = step-00000760
holds 'and steps beyond it' test "$(last_step killed)" -gt 760
run r3 train images.yaml --run killed
check 'gone on with, it has the same weights' "$whole" "$(end_of killed weights_sha256)"
check 'and each step once' "1-$steps each once" "$(steps_of killed)"

say '--resume CHECKPOINT'
run j3 train images.yaml --run elsewhere --resume fork --quiet
check 'goes on in another folder to the same weights' "$whole" "$(end_of elsewhere weights_sha256)"
try alone train images.yaml --run elsewhere --resume nowhere
check 'which must be there: bad data' 3 "$code"
contains 'named' 'dldist: error: nowhere: ' err
try r2 train images.yaml --run third --resume fork/checkpoints/latest --set seed=9
check 'and be of the same configuration' 2 "$code"
contains 'or both are named' "seed differs from the run that fork/checkpoints/latest holds: '9' now, '1' then" err
holds 'and no folder is begun' test ! -e third

say 'a completed run, on the digits'
run r2 train digits.yaml --run digits --quiet
digits=$(end_of digits weights_sha256)
cp digits/metrics.jsonl before
for how in alone r3; do
  run "$how" train digits.yaml --run digits
  contains "trained again ($how) says that nothing is left to do" 'the run in digits is completed: 3 epochs' err
  holds 'and touches nothing' cmp before digits/metrics.jsonl
done
try r2 train digits.yaml --run digits --set optimizer.lr=0.01
check 'a changed learning rate is wrong usage' 2 "$code"
contains 'that names the key' 'optimizer.lr differs from the run that digits holds: ' err
check 'once' 1 "$(grep -c '^dldist: error:' err)"
sed 's/lr: 0.003/lr: 0.004/' digits.yaml >changed.yaml
try alone train changed.yaml --run digits
contains 'with its place in the file' 'dldist: error: changed.yaml:4:29: optimizer.lr differs' err
try r2 train digits.yaml --run digits --set data.normalize=per_feature
check 'so is an explicit choice where the run began with auto' 2 "$code"
contains 'that is another one' "data.normalize differs from the run that digits holds: 'per_feature' now, " err
contains 'at its option' 'dldist: error: --set data.normalize:1:1: ' err
run alone train digits.yaml --run digits --set "data.normalize=$(sed -n 's/.*normalize: \([a-z]*\).*/\1/p' digits/config.yaml)"
try alone train digits.yaml --run digits --set 'model=[flatten, {dense: 32}, relu, {dropout: 0.3}, {dense: 10}]'
check 'so is a changed layer' 2 "$code"
contains 'that names it' "model[3].dropout.rate differs from the run that digits holds: '0.3' now, '0.2' then" err
holds 'and touches nothing' cmp before digits/metrics.jsonl
run r3 train digits/config.yaml --run again --quiet
check 'its config.yaml trains a new folder to the same weights' "$digits" "$(end_of again weights_sha256)"
run alone train digits.yaml --run longer --set train.epochs=5 --quiet
run r3 train digits.yaml --run again --set train.epochs=5 --quiet
check 'more epochs go on with it, to what they would have given at once' "$(end_of longer weights_sha256)" \
  "$(end_of again weights_sha256)"
check 'each step once' "1-$((5 * 45)) each once" "$(steps_of again)"
check 'from where it was' 1 "$(grep -c '"resumed":true' again/metrics.jsonl)"
run r2 train digits.yaml --run again --resume never --quiet
check '--resume never begins anew' "$digits" "$(end_of again weights_sha256)"
check 'each step once' "1-$((3 * 45)) each once" "$(steps_of again)"
check 'nothing was resumed' 0 "$(grep -c '"resumed":true' again/metrics.jsonl || true)"
check 'and only its own checkpoints are left' 'latest step-00000090 step-00000135' "$(cd again/checkpoints && echo *)"

say 'a checkpoint of a version that had fewer keys'
cp -r digits older
state=older/checkpoints/step-00000135/state.json
sed -i 's/, drop_last: false//; s/, nesterov: false//; s/ l1: 0,//' "$state"
printf '{"version":1,"files":{' >manifest
for part in model.safetensors optimizer.safetensors state.json; do
  file=older/checkpoints/step-00000135/$part
  printf '"%s":{"bytes":%s,"sha256":"%s"},' "$part" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d' ' -f1)" >>manifest
done
sed 's/,$/}}/' manifest >older/checkpoints/step-00000135/MANIFEST.json
try alone train digits.yaml --run older --set train.epochs=5 --set train.drop_last=true
check 'a key that it lacks cannot be changed' 2 "$code"
contains 'from its default' 'train.drop_last differs from the run that older holds' err
run r2 train digits.yaml --run older --set train.epochs=5 --quiet
check 'at their defaults it is gone on with, to the same weights' "$(end_of longer weights_sha256)" \
  "$(end_of older weights_sha256)"

say 'a folder that another run is in'
"$DLDIST" train digits.yaml --run busy --quiet -j 1 --set train.epochs=1000000 --set checkpoint.every_epochs=0 >/dev/null 2>&1 &
other=$!
for _ in $(seq 500); do
  [ "$(last_step busy)" = 0 ] || break
  sleep 0.02
done
try r2 train digits.yaml --run busy --resume never --quiet
check 'is not entered' 1 "$code"
contains 'and that is said' 'dldist: error: busy: another dldist trains in this folder' err
kill -TERM "$other"
code=0
wait "$other" || code=$?
check 'nor is the other run disturbed' 75 "$code"
run alone train digits.yaml --run busy --resume never --quiet
check 'once it has ended the folder is free' "$digits" "$(end_of busy weights_sha256)"
mkdir together
for seed in 1 2 3 4; do
  (cd together && exec "$DLDIST" train ../digits.yaml --set "seed=$seed" --set train.epochs=1 --quiet -j 1 >/dev/null 2>&1) &
done
wait
check 'runs that begin together without --run have folders of their own' '1 2 3 4' \
  "$(sed -n 's/^seed: //p' together/runs/*/config.yaml | sort | tr '\n' ' ' | sed 's/ $//')"

# flip FILE: one bit of its last byte but four.
flip() {
  local at=$(($(stat -c %s "$1") - 5)) byte
  byte=$(od -An -tu1 -j "$at" -N 1 "$1")
  printf '%b' "\\x$(printf %x $((byte ^ 16)))" | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
}

say 'damaged checkpoints'
cp -r digits damaged
flip damaged/checkpoints/step-00000135/model.safetensors
run r2 train digits.yaml --run damaged
contains 'the newest is passed over with a warning that names it' 'warning: checkpoint damaged/checkpoints/step-00000135 is passed over: ' err
check 'once' 1 "$(grep -c 'warning:' err)"
contains 'which metrics.jsonl keeps' '"code":"checkpoint_damaged"' damaged/metrics.jsonl
contains 'the older one is gone on with' 'going on after step 90' err
check 'to the same weights' "$digits" "$(end_of damaged weights_sha256)"
check 'each step once' "1-$((3 * 45)) each once" "$(steps_of damaged)"
flip damaged/checkpoints/step-00000135/optimizer.safetensors
try alone inspect damaged/checkpoints/step-00000135
check 'a damaged one is bad data to inspect' 3 "$code"
contains 'naming the file' 'damaged/checkpoints/step-00000135/optimizer.safetensors: is damaged' err
for part in MANIFEST.json state.json; do
  rm -r damaged && cp -r digits damaged
  rm "damaged/checkpoints/step-00000135/$part"
  run alone train digits.yaml --run damaged --quiet
  check "without $part the older one is gone on with, to the same weights" "$digits" "$(end_of damaged weights_sha256)"
done
rm -r damaged && cp -r digits damaged
truncate -s -100 damaged/checkpoints/step-00000135/model.safetensors
try r2 eval --checkpoint damaged/checkpoints/latest
check 'a short one is bad data to eval' 3 "$code"
check 'with one message' 1 "$(grep -c '^dldist: error:' err)"
printf '{"event":"step","time":9,"st' >>damaged/metrics.jsonl
run alone train digits.yaml --run damaged --quiet
check 'a torn last line of metrics.jsonl goes away' "1-$((3 * 45)) each once" "$(steps_of damaged)"
check 'and the weights are the same' "$digits" "$(end_of damaged weights_sha256)"

finish
