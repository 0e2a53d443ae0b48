#!/usr/bin/env bash
# The best epoch: training ends when it has got no better for a while, and ends with the weights of the best epoch; which that is
# depends neither on ranks nor on a stop on the way.
# Usage: tests/cli/test_best_epoch.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cat >c.yaml <<YAML
name: best
seed: 7
data: {file: "$DIGITS", valid: 0.1}
model: [flatten, {dense: 32}, relu, {dropout: 0.3}, {dense: 10}]
optimizer: {name: adam, lr: 0.03}
train: {epochs: 60, batch: 45, patience: 4}
checkpoint: {best: true}
sync: {shards: 8}
YAML

# best_of RUN: epoch and step that its end names.
best_of() { events end "$1" | tail -n 1 | sed 's/.*"best":{[^}]*"epoch":\([0-9]*\),"step":\([0-9]*\).*/\1 \2/'; }
# lowest RUN COLUMN: the epoch in which the validation's COLUMN was lowest, the first of them.
lowest() {
  events eval "$1" | grep '"split":"valid"' | sed 's/.*"epoch":\([0-9]*\).*"'"$2"'":\([^,]*\).*/\2 \1/' | sort -g -k 1,1 -s | awk 'NR == 1 { print $2 }'
}
digest() { "$DLDIST" inspect "$1" --json | tr ',' '\n' >digest && field weights_sha256 digest; }

say '== patience'
run j1 train c.yaml --run one
read -r epoch step <<<"$(best_of one)"
check 'the best epoch is that of the lowest validation loss' "$(lowest one loss)" "$epoch"
check 'the run ended four epochs later' "$((epoch + 4))" "$(end_of one epochs)"
holds 'before its epochs were over' test "$epoch" -lt 56
contains 'which is said' "training ends: valid loss has not been better than" err
contains 'so is whose weights it ends with' "the run ends with the weights of epoch $epoch, its best: valid loss" err
check 'epochs that were the best are marked' "$epoch" "$(grep ' best$' err | tail -n 1 | sed 's:/.*::; s/ //g')"
check 'checkpoints/best is of that step' "step-$(printf %08d "$step")" "$(readlink one/checkpoints/best)"
check 'the weights of the end are its weights' "$(digest one/checkpoints/best)" "$(end_of one weights_sha256)"
holds 'and not the last ones' test "$(digest one/checkpoints/latest)" != "$(end_of one weights_sha256)"
check 'the test is of that epoch' "$epoch" "$(events eval one | grep '"split":"test"' >test.line && field epoch test.line)"
run alone eval --run one --json
check 'dldist eval judges them too' "$(field loss test.line)" "$(field loss out)"
run alone eval --run one/ --split valid --json
check 'on the validation split it finds the score of the end' \
  "$(events end one | sed 's/.*"score":\([^,]*\).*/\1/')" "$(field loss out)"
try alone train c.yaml --run one
contains 'a run that ended so is completed' 'is completed' err
holds 'its report names the epoch' grep -q 'best epoch' one/report.html

say '== the same by whomever'
for how in j3 r2 r3 r5 r2-mpi; do
  run "$how" train c.yaml --run "by-$how" --quiet
  check "$how: the same best epoch" "$epoch $step" "$(best_of "by-$how")"
  check "$how: the same weights" "$(end_of one weights_sha256)" "$(end_of "by-$how" weights_sha256)"
done
DLDIST_NODES=2,1 run r3 train c.yaml --run nodes --quiet
check 'on two nodes: the same weights' "$(end_of one weights_sha256)" "$(end_of nodes weights_sha256)"
run j2 train c.yaml --run ps --quiet --set sync.mode=ps
check 'by parameter servers: the same weights' "$(end_of one weights_sha256)" "$(end_of ps weights_sha256)"

say '== stopped on the way'
run r2 train c.yaml --run parts --quiet --set train.epochs="$((epoch + 1))"
run j3 train c.yaml --run parts --quiet --set train.epochs="$((epoch + 3))"
check 'the second part knows the best epoch of the first' "$epoch $step" "$(best_of parts)"
check 'and ends with its weights' "$(end_of one weights_sha256)" "$(end_of parts weights_sha256)"
run r3 train c.yaml --run parts --quiet
check 'the third ends where a run without a stop does' "$((epoch + 4))" "$(end_of parts epochs)"
check 'with the same weights' "$(end_of one weights_sha256)" "$(end_of parts weights_sha256)"
run j2 train c.yaml --run parts --quiet --set train.patience=5
holds 'more patience goes on' test "$(end_of parts epochs)" -gt "$((epoch + 4))"

say '== what is kept, and of which score'
run j2 train c.yaml --run plain --quiet --set checkpoint.best=false
check 'without checkpoint.best it ends with the last weights' "$(digest plain/checkpoints/latest)" "$(end_of plain weights_sha256)"
check 'after the same epochs' "$((epoch + 4))" "$(end_of plain epochs)"
holds 'and has no checkpoints/best' test ! -e plain/checkpoints/best
run j2 train c.yaml --run all --quiet --set train.patience=0 --set train.epochs=12
check 'without patience it trains all epochs' 12 "$(end_of all epochs)"
check 'three folders are kept at most' yes "$([ "$(find all/checkpoints -maxdepth 1 -type d -name 'step-*' | wc -l)" -le 3 ] && echo yes)"
run j2 train c.yaml --run auc --quiet --set train.monitor=macro_roc_auc --set checkpoint.every_epochs=0
contains 'the end names the score' '"best":{"monitor":"macro_roc_auc"' auc/metrics.jsonl
check 'the best checkpoint is written whatever every_epochs says' "$(end_of auc weights_sha256)" "$(digest auc/checkpoints/best)"
run j2 train c.yaml --run gone --quiet --set train.epochs="$((epoch + 1))"
rm -r "gone/checkpoints/$(readlink gone/checkpoints/best)"
run j2 train c.yaml --run gone --set train.epochs="$((epoch + 2))"
contains 'a best checkpoint that is gone is told' "the checkpoint of the best epoch so far ($epoch) is not in" err
check 'the run ends with what is left' "$((epoch + 2))" "$(end_of gone weights_epoch)"

say '== without a test split'
"$DLDIST_H5" make no_test alone.h5
cat >v.yaml <<'YAML'
data: {file: alone.h5, valid: 0.3}
model: [{dense: 32}, relu, {dense: 3}]
optimizer: {name: adam, lr: 0.3}
train: {epochs: 8, batch: 40}
checkpoint: {best: true}
seed: 3
sync: {shards: 2}
YAML
in_evaluation() { tr ',' '\n' <v/evaluation.json | sed 's/[ {}]//g' >evaluation && field "$1" evaluation; }
run j1 train v.yaml --run v --quiet
holds 'the best epoch is not the last' test "$(lowest v loss)" -lt 8
check 'evaluation.json is of the best epoch' "valid $(lowest v loss)" "$(in_evaluation split) $(in_evaluation epoch)"
check 'metrics.jsonl has each epoch once' 8 "$(events eval v | wc -l)"
check 'the end says which epoch its weights are of' "$(lowest v loss)" "$(end_of v weights_epoch)"
rm -r "v/checkpoints/$(readlink v/checkpoints/best)"
run j1 train v.yaml --run v --set train.epochs=9
contains 'a best checkpoint that is gone is told' "is not in v/checkpoints: the best one is looked for from here on" err
check 'evaluation.json is of what is left' "9 9" "$(in_evaluation epoch) $(end_of v weights_epoch)"

say '== what was not watched'
run j1 train v.yaml --run w --quiet --set checkpoint.best=false --set train.epochs=3
run r2 train v.yaml --run w --set train.epochs=5
contains 'epochs before are told' 'the 3 epochs so far were not judged by loss' err
holds 'and the best is one of the others' test "$(best_of w | cut -d ' ' -f 1)" -gt 3
run j1 train v.yaml --run w --set train.epochs=6 --set train.monitor=accuracy
contains 'so is another score' 'the 5 epochs so far were not judged by accuracy' err
run j2 train c.yaml --run from --quiet --set seed=8 --set train.epochs=6 --set train.min_delta=9
run j2 train c.yaml --run other --quiet --set train.epochs=1 --set checkpoint.keep=9
try j2 train c.yaml --run other --resume from/checkpoints/latest --set seed=8 --set train.epochs=7 --set train.min_delta=9 --set checkpoint.keep=9
contains 'the best of a run that went on elsewhere is not taken for one of the same number here' \
  'the checkpoint of the best epoch so far (1) is not in other/checkpoints' err

say '== what is wrong'
try j2 train c.yaml --run bad --set train.monitor=acuracy
check 'a score that the task has not' "2: dldist: error: --set train.monitor:1:1: 'acuracy' is no score of the task classification (did you mean 'accuracy'?)" \
  "$code: $(cat err)"
try j2 train c.yaml --run bad --set task=binary --set train.monitor=best_f1_threshold
contains 'a figure that is no score' "'best_f1_threshold' is neither better nor worse" err
try r2 train c.yaml --run bad --set data.valid=null
check 'no validation split: exit code' 2 "$code"
contains 'and what to do' 'there is none (set data.valid, for example to 0.1)' err
try alone train c.yaml --dry-run --set train.patience=-1
check 'a negative patience' 2 "$code"

finish
