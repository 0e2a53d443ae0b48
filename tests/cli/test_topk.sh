#!/usr/bin/env bash
# sync.compress: topk gives the same weights at any number of ranks, in any shape, and across a stop and a resume elsewhere;
# what it leaves behind is in the checkpoint; it learns; it sends less.
# Usage: tests/cli/test_topk.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cat >c.yaml <<YAML
name: topk
seed: 5
data: {file: "$DIGITS", valid: 0.1}
model: [flatten, {dense: 160}, batchnorm, relu, {dense: 160}, relu, {dense: 10}]
optimizer: {name: adam, lr: 0.003}
train: {epochs: 2, batch: 100, clip_norm: 1}
sync: {shards: 8, compress: topk, topk: 0.02, recompute_every: 3, audit_every: 4, bucket_mb: 0.05}
YAML
bytes() { sed -n 's/.*"event":"step".*"node_sent_bytes":\([0-9]*\).*/\1/p' "$1/metrics.jsonl" | awk '{s += $1} END {print s}'; }

say '== the same bits'
run j1 train c.yaml --run one
contains 'the header tells what is kept' 'MB in all for what topk leaves behind)' err
hash=$(end_of one weights_sha256)
for how in j2 r3 r5 r3-mpi r2j2; do
  run "$how" train c.yaml --run "by-$how" --quiet
  check "$how: the weights of one rank" "$hash" "$(end_of "by-$how" weights_sha256)"
done
run j1 train c.yaml --run none --quiet --set sync.compress=none
holds 'not those of none' test "$hash" != "$(end_of none weights_sha256)"
run j1 train c.yaml --run more --quiet --set sync.topk=0.2
holds 'nor of another share' test "$hash" != "$(end_of more weights_sha256)"

say '== nodes'
for nodes in 1,1 2,1 2,2; do
  DLDIST_NODES=$nodes run "r$((${nodes/,/+}))" train c.yaml --run "on-$nodes" --quiet
  check "$nodes: the weights of one rank" "$hash" "$(end_of "on-$nodes" weights_sha256)"
done
DLDIST_NODES=1,1 run r2 train c.yaml --run on-none --quiet --set sync.compress=none
topk=$(bytes on-1,1) none=$(bytes on-none)
# About half of the bytes are weights. Of the gradients, sums of 4 leaves of 2 %: 8 % of them or less, and their places.
holds "gradients take a fraction of their bytes: $topk of $none" test "$((topk * 100))" -lt "$((none * 65))"
holds 'and weights all of theirs' test "$((topk * 100))" -gt "$((none * 50))"

say '== stopped and resumed elsewhere'
run r3 train c.yaml --run moved --quiet --set train.epochs=1
names=$("$DLDIST" inspect moved/checkpoints/latest --json)
DLDIST_NODES=2,2 run r4 train c.yaml --run moved --quiet
check 'the weights of one rank' "$hash" "$(end_of moved weights_sha256)"
for shard in 0 7; do
  holds "the checkpoint has what shard $shard left behind" grep -qaF "\"residual.$shard\"" moved/checkpoints/latest/optimizer.safetensors
done
check 'and of no shard more' '' "$(grep -aoF '"residual.8"' moved/checkpoints/latest/optimizer.safetensors || true)"
holds 'inspect reads it' test -n "$names"
try j1 train c.yaml --run moved --quiet --set train.epochs=3 --set sync.topk=0.5
check 'another share is another run' 2 "$code"
contains 'and told so' 'sync.topk' err

say '== what it cannot do'
try j1 train c.yaml --run bad --set sync.topk=0
check 'a share of 0 is refused' 2 "$code"
contains 'with its range' 'sync.topk' err
large=(--run bad --dry-run --set 'model=[flatten, {dense: 4000}, {dense: 4000}, {dense: 10}]')
try j1 train c.yaml "${large[@]}" --set sync.shards=1000000
check 'more shards than memory has copies for are refused' 1 "$code"
contains 'with what to do' 'take fewer sync.shards' err
# Of a million shards: GB that they take, and GB that there are. A checkpoint holds all of it once more.
half=$(sed -n 's/.* \([0-9.]*\) GB for each of its 1 members; it has \([0-9.]*\) GB.*/\1 \2/p' err | awk '{print int(0.55e6 * $2 / $1)}')
try j1 train c.yaml "${large[@]}" --set "sync.shards=$half"
check 'so are as many as leave no room for a checkpoint' 1 "$code"
contains 'in words' 'a checkpoint of what topk leaves behind' err
try alone ps serve c.yaml --run bad --bind ipc:///tmp/nobody --set sync.mode=ps
check 'servers whose workers come and go refuse it' 2 "$code"
contains 'in words' 'topk' err
run j2 train c.yaml --run servers --quiet --set sync.mode=ps
check 'servers within a run do not' "$hash" "$(end_of servers weights_sha256)"
exit "$failed"
