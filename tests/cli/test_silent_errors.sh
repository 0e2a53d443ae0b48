#!/usr/bin/env bash
# What is silently wrong ends a run with exit code 4 and a message that names it, the ranks and the last good checkpoint;
# a slow rank is named; guards change no bits. Faults come from DLDIST_TEST_FAULT (src/train/guards.h).
# Usage: tests/cli/test_silent_errors.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cat >c.yaml <<YAML
name: guards
seed: 3
data: {file: $DIGITS, valid: 0.1}
model: [flatten, {dense: 24}, relu, {dense: 10}]
train: {epochs: 4, batch: 128}
sync: {shards: 6, audit_every: 8, recompute_every: 3}
YAML

# fails SENTENCE HOW FAULT PATTERN...: the run ends with exit code 4 and one message, in which all patterns are.
fails() {
  local sentence=$1 how=$2 fault=$3 pattern
  shift 3
  rm -rf bad
  DLDIST_TEST_FAULT=$fault try "$how" train c.yaml --run bad --quiet
  check "$sentence ($how)" 4 "$code"
  check 'with one message' 1 "$(grep -c '^dldist: ' err || true)"
  for pattern; do holds "which has '$pattern'" grep -qE -- "$pattern" err; done
  holds 'and the run says that it failed' grep -q '"event":"end".*"status":"failed"' bad/metrics.jsonl
  check 'and why' "$(sed -n 's/.*"event":"end".*"message":"\([^"]*\)".*/\1/p' bad/metrics.jsonl | head -c 60)" \
    "$(sed 's/^dldist: error: //' err | head -c 60)"
}

say '== weights'
for how in j1 j3 r3; do
  fails 'a flipped weight is found before it is written again' "$how" weight:18:0:1000:21 \
    'weights have changed in memory: layers\.1\.weight\[15, 40\] \(bit 21: ' 'since rank [012] on '
done
fails 'a copy that differs from the others is named by the majority' j3-mpi weight:16:2:1000:21 \
  'step 16, audit: .*layers\.1\.weight\[15, 40\] \(bit 21: ' 'in 1 of 3 copies, first in that of rank 2 on [^ ]+; most are what rank [012] on'
run j2 train c.yaml --run whole --quiet
steps=$(sed -n 's/.*"event":"end".*"steps":\([0-9]*\).*/\1/p' whole/metrics.jsonl)
epoch=$((steps / 4))
fails 'the last good checkpoint is named' j2 "weight:$((2 * epoch + 2)):1:5:30" \
  "the last good checkpoint is bad/checkpoints/step-0*$((2 * epoch))\\)"
holds 'and it is sound' "$DLDIST" inspect "bad/checkpoints/step-$(printf %08d $((2 * epoch)))"

say '== gradients'
for how in j3 r3; do
  fails 'a member that computes wrongly is named by the others' "$how" gradient:0:1:1000:5 \
    'differs in the gradient of layers\.1\.weight' 'rank 1 on [^ ]+ was wrong \(2 of 3 confirm the other'
done
fails 'of two that are steady neither is believed' j2 gradient:0:1:1000:5 'neither is confirmed over the other'

say '== no fault'
hash=$(end_of whole weights_sha256)
run j3 train c.yaml --run without --quiet --set sync.audit_every=0 --set sync.recompute_every=0
check 'guards change no bits' "$hash" "$(end_of without weights_sha256)"
run r2-mpi train c.yaml --run often --quiet --set sync.audit_every=1 --set sync.recompute_every=1
check 'nor do they in every step, on messages' "$hash" "$(end_of often weights_sha256)"
DLDIST_TEST_FAULT=gradient:1:0:1 try alone train c.yaml --run bad2
check 'a fault that is none is refused' 2 "$code"
contains 'and told' "DLDIST_TEST_FAULT: 'gradient:1:0:1' is no fault to make" err
DLDIST_TEST_FAULT=slow:1:0:1 run alone train c.yaml --run told --set train.epochs=1
contains 'a fault on purpose is never silent' 'warning: DLDIST_TEST_FAULT is set: slow:1:0:1' err

say '== stragglers'
DLDIST_TEST_FAULT=slow:1:2:15 run r3 train c.yaml --run slow --set train.epochs=8
contains 'the epoch table has the slowest rank' 'slowest rank' err
contains 'a rank that stays slow is warned of' 'warning: rank 2 on ' err
check 'once' 1 "$(grep -c '"code":"straggler"' slow/metrics.jsonl)"
steps=$(grep -c '"event":"step"' slow/metrics.jsonl)
holds 'and is the slowest in most steps' \
  test "$(grep -cF '"slowest":{"rank":2,' slow/metrics.jsonl)" -gt $((steps * 8 / 10))
run j1 train c.yaml --run one --set train.epochs=1
check 'one member is not compared' '' "$(grep -o slowest one/metrics.jsonl err || true)"
exit "$failed"
