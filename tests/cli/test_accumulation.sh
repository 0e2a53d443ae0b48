#!/usr/bin/env bash
# More shards than ranks is gradient accumulation: a batch whose activations do not fit in memory at once trains in bounded
# memory, with the bits that many ranks would give.
# Usage: tests/cli/test_accumulation.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cat >wide.yaml <<YAML
name: wide
data: {file: "$DIGITS"}
model: [flatten, {dense: 20000}, relu, {dense: 30}, relu, {dense: 10}]
optimizer: {name: sgd, lr: 0.01}
train: {epochs: 1, batch: 1024}
sync: {shards: 16}
YAML

# Activations and their gradients of 1,024 samples: 1024 * 20,000 * 4 bytes * 2 and more = 160 MB; of 64 samples a sixteenth.
limited() { (ulimit -v 600000 && OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 "$DLDIST" train wide.yaml -j 1 --quiet "$@") >out 2>err; }
code=0
limited --run whole --set sync.shards=1 --set train.batch=1024 --set 'model.1={dense: 60000}' || code=$?
say "at once: exit code $code: $(head -c 200 err)"
holds 'in one shard the batch does not fit under the limit' test "$code" -ne 0
code=0
limited --run parts --set 'model.1={dense: 60000}' || code=$?
check 'in sixteen it does' 0 "$code"

limited --run accumulated || cat err
run r4 train wide.yaml --run ranks --quiet
check 'and the weights are those of four ranks' "$(end_of ranks weights_sha256)" "$(end_of accumulated weights_sha256)"
finish
