#!/usr/bin/env bash
# Several hosts: the weights of one rank, bit for bit, whatever the shape; one copy of the weights a host; no more bytes on the
# wire than there must be.
# Usage: tests/cluster/test_hosts.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cluster/hosts.sh
source "$(dirname "${BASH_SOURCE[0]}")/hosts.sh"

hosts 4
cat >plain.yaml <<YAML
name: hosts
data: {file: "$DIGITS", valid: 0.1}
model: [flatten, {dense: 160}, relu, {dropout: 0.1}, {dense: 160}, relu, {dense: 10}]
optimizer: {name: adam, lr: 0.003}
train: {epochs: 1, batch: 100}
sync: {shards: 12, bucket_mb: 0.05}
YAML

# shape NAME HOSTS ARGUMENTS...: trains on these hosts and compares with one rank.
shape() {
  local name=$1 where=$2
  shift 2
  on "$where" train "$@" --run "run-$name" --quiet
  check "$name: trains" 0 "$code"
  [ "$code" = 0 ] || { cat err && return; }
  check "$name: the weights of one rank" "$(end_of "$alone" weights_sha256)" "$(end_of "run-$name" weights_sha256)"
  history "$alone" >one
  history "run-$name" | sed 's/"node_sent_bytes.*//' >other
  holds "$name: and every loss, norm and score" cmp one other
}

run alone train plain.yaml -j 1 --run one-rank --quiet
alone=one-rank
shape 2x2 n1:2,n2:2 plain.yaml
events start run-2x2 >begin
contains '2x2: two hosts meet by nodes' '"hosts":["n1","n2"]' begin
contains 'one copy of the weights on each' '"transport":"nodes"' begin
shape 4x1 n1:1,n2:1,n3:1,n4:1 plain.yaml
shape 3x2 n1:2,n2:2,n3:2 plain.yaml
shape 3+1 n1:3,n2:1 plain.yaml
shape 2+3 n1:2,n2:3 plain.yaml
mpi_words=(--map-by node)
shape by-node n1:2,n2:2 plain.yaml
shape 3+1-by-node n1:3,n2:1 plain.yaml
mpi_words=()
shape threads n1:1,n2:1 plain.yaml -j 2
shape in-turn n1:2,n2:2 plain.yaml --set sync.overlap=false
shape flat n1:2,n2:2 plain.yaml --set sync.transport=mpi

say 'a norm that is needed first, and norms of tensors'
for optimizer in '{name: sgd, lr: 0.1, momentum: 0.9}' '{name: lamb, lr: 0.01}'; do
  sed "s/^optimizer:.*/optimizer: $optimizer/; s/batch: 100/batch: 100, clip_norm: 0.5/" plain.yaml >clipped.yaml
  run alone train clipped.yaml -j 1 --run "one-${#optimizer}" --quiet
  alone=one-${#optimizer}
  shape "clipped-${#optimizer}-2x2" n1:2,n2:2 clipped.yaml
  shape "clipped-${#optimizer}-3+1" n1:3,n2:1 clipped.yaml
done

say 'compressed sums: other weights, but the same ones everywhere'
for form in bf16 fp16 topk; do
  run alone train plain.yaml --set "sync.compress=$form" -j 1 --run "one-$form" --quiet
  alone=one-$form
  shape "$form-2x2" n1:2,n2:2 plain.yaml --set "sync.compress=$form"
  shape "$form-3+1" n1:3,n2:1 plain.yaml --set "sync.compress=$form"
  holds "$form is not none" test "$(end_of one-rank weights_sha256)" != "$(end_of "one-$form" weights_sha256)"
done

say 'a run that was stopped on two hosts goes on on three'
alone=one-rank
sed 's/epochs: 1/epochs: 2/' plain.yaml >longer.yaml
run alone train longer.yaml -j 1 --run two-epochs --quiet
on n1:2,n2:2 train longer.yaml --set train.epochs=1 --run moved --quiet
on n1:1,n2:2,n3:1 train longer.yaml --run moved --quiet
check 'and ends with the weights of one rank' "$(end_of two-epochs weights_sha256)" "$(end_of moved weights_sha256)"

# sent HOSTS SHARDS: bytes a step that the first host sends, over 2N(M - 1)/M for M hosts of one subtree each, in thousandths.
# Whether the last of a step's bytes go out before its line or after it is a matter of time: a mean over many steps.
sent() {
  local hosts parameters bytes
  hosts=$(tr ',' '\n' <<<"$1" | wc -l)
  on "$1" train plain.yaml --set sync.shards="$2" --set sync.bucket_mb=0.5 --set train.epochs=6 --run "sent-$hosts" --resume never --quiet
  parameters=$(events start "sent-$hosts" | sed 's/.*"parameters":\([0-9]*\).*/\1/')
  bytes=$(events step "sent-$hosts" | sed -n '10,$s/.*"node_sent_bytes":\([0-9]*\).*/\1/p' | awk '{ all += $1 } END { printf "%.0f\n", all / NR }')
  echo $((1000 * bytes * hosts / (8 * parameters * (hosts - 1))))
}
sed -i 's/dense: 160/dense: 700/g' plain.yaml
for where in n1:2,n2:2 n1:1,n2:1,n3:1,n4:1; do
  ratio=$(sent "$where" 4)
  holds "$where: $ratio thousandths of the bytes that must travel" test "$ratio" -ge 980 -a "$ratio" -le 1020
done

# Gradients in two bytes, weights in four: three quarters.
sed -i 's/^sync:.*/sync: {shards: 4, compress: bf16}/' plain.yaml
ratio=$(sent n1:2,n2:2 4)
holds "in 16 bits $ratio thousandths" test "$ratio" -ge 730 -a "$ratio" -le 770

finish
