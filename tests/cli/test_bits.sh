#!/usr/bin/env bash
# The configuration says what is computed, the number of ranks only how fast: the same weights, losses and scores, bit for bit,
# at any number of ranks and threads and by both transports.
# Usage: tests/cli/test_bits.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

import_fashion images.h5
# 60,000 = 71 * 845 + 5: the shards never divide the batch, and the last one has fewer samples than shards.
cat >images.yaml <<'YAML'
name: bits
seed: 3
data: {file: images.h5}
model: [flatten, {dense: 64}, relu, {dropout: 0.2}, {dense: 10}]
optimizer: {name: sgd, lr: 0.1, momentum: 0.9}
train: {epochs: 1, batch: 845, clip_norm: 0.5}
sync: {shards: 8}
YAML
cat >digits.yaml <<YAML
name: fused
data: {file: "$DIGITS", valid: 0.1}
model: [flatten, {dense: 48}, tanh, {dropout: 0.1}, {dense: 10}]
optimizer: {name: adam, lr: 0.003}
train: {epochs: 2, batch: 50}
sync: {shards: 8}
YAML

# one HOW NAME ARGUMENTS...: trains so into NAME-HOW, and proves that it was done as asked.
one() {
  local how=$1 name=$2 members=1 transport=shm folder=$2-$1
  shift 2
  run "$how" train "$@" --run "$folder" --quiet
  [ "$code" = 0 ] || return 0
  [[ $how =~ r([0-9]+) ]] && members=${BASH_REMATCH[1]}
  [[ $how =~ j([0-9]+) ]] && members=$((members * BASH_REMATCH[1]))
  [[ $how != *-mpi ]] || transport=mpi
  events start "$folder" >begin
  check "$name by $how was $members members" "$members" "$(field ranks begin)"
  check "and they met by $transport" "$transport" "$(field transport begin)"
  run alone inspect "$folder" --json
  check 'its checkpoint holds what its end says' "$(end_of "$folder" weights_sha256)" "$(field weights_sha256 out)"
}

# all NAME ARGUMENTS... -- HOW...: the first way is the reference for the others.
all() {
  local name=$1 arguments=() first how
  shift
  while [ "$1" != -- ]; do arguments+=("$1") && shift; done
  shift
  first=$1
  for how in "$@"; do
    one "$how" "$name" "${arguments[@]}"
    [ "$how" != "$first" ] || continue
    check "$name: the weights of $how are those of $first" "$(end_of "$name-$first" weights_sha256)" \
      "$(end_of "$name-$how" weights_sha256)"
    history "$name-$first" >one
    history "$name-$how" >other
    holds "$name: and so is every loss, norm and score" cmp one other
  done
  check "$name: there is a digest" 64 "$(end_of "$name-$first" weights_sha256 | tr -d '\n' | wc -c)"
}

ways=(r1 r2 r3 r4 r5 r8 r1-mpi r2-mpi r3-mpi r4-mpi r5-mpi r8-mpi j1 j2 j3 j4 j5 j8)
say "$data_name: dropout, momentum, clipping; 8 shards, batches of 845, the last one of 5"
all shards8 images.yaml -- "${ways[@]}" r2j2 r3j2-mpi
say 'the same in 6 shards'
all shards6 images.yaml --set sync.shards=6 -- "${ways[@]}"
say 'batches of 100 in 8 shards, a tenth of the images'
all batch100 images.yaml --set train.batch=100 --set data.valid=0.9 -- r1 r3 r8 r5-mpi j4 r2j2
say 'Adam without clipping on the digits: reduction and step are one'
all fused digits.yaml -- r1 r2 r3 r4 r5 r8 r3-mpi r4-mpi j3 j8
say 'the same in matrix products of OpenBLAS, whatever is built in'
all openblas digits.yaml --set compute.backend=openblas -- j1 r3 r4-mpi

say 'and these digests mean something: what changes the sum changes the bits'
for other in shards6-r1 batch100-r1 fused-r1; do
  holds "shards8-r1 and $other have different weights" \
    test "$(end_of shards8-r1 weights_sha256)" != "$(end_of "$other" weights_sha256)"
done
run alone train digits.yaml --set seed=2 --run seed2 --quiet
holds 'another seed gives other weights' test "$(end_of fused-r1 weights_sha256)" != "$(end_of seed2 weights_sha256)"

say 'shards: auto is the number that config.yaml then says'
all auto digits.yaml --set sync.shards=auto --set train.batch=64 -- r1 r3 j4
contains 'four shards for batches of 64' 'shards: 4' auto-r3/config.yaml
run r5 train digits.yaml --set sync.shards=auto --set train.batch=64 --run raised
contains 'more ranks than that raise it, with one line that says which value to set' 'set sync.shards: 5 ' err
check 'once' 1 "$(grep -c 'sync.shards' err)"
run alone train digits.yaml --set sync.shards=5 --set train.batch=64 --run raised-alone
check 'which then gives the same bits alone' "$(end_of raised weights_sha256)" "$(end_of raised-alone weights_sha256)"

finish
