#!/usr/bin/env bash
# guards.sh - what the guards against silent corruption (sync.audit_every, sync.recompute_every at their defaults) cost of a
# training step on this machine.
#
# usage: benchmarks/guards.sh [ROUNDS]     rounds of each measurement, interleaved (default 3); the median of rounds is reported
#
# Within a run the same model takes steps with guards and without by turns (dldist bench step --guards). One thread a rank.
# Nothing else should run meanwhile.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
rounds=${1:-3}
dldist=${DLDIST:-build/release/dldist}
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS OMP_NUM_THREADS DNNL_MAX_CPU_ISA ONEDNN_MAX_CPU_ISA
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# model samples shards steps: what is timed
cases='mlp 128 ranks 400
mlp 128 auto 300
cifar10-cnn 32 ranks 200
cifar10-cnn 128 ranks 80'

# ranks model samples shards steps: "ms without guards, percent in every step, percent in all"
cost() {
  local model=$2 samples=$3 shards=$4 steps=$5
  mpirun -n "$1" --bind-to core "$dldist" bench step --guards --model "$model" --batch "$samples" --shards "$shards" --steps "$steps" </dev/null |
    awk '/^step without/ {ms = $5} /^hashes/ {every = $(NF - 1)} /^guards:/ {all = $(NF - 1)} END {print ms, every, all}'
}
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

declare -A reading
for ((i = 0; i < rounds; i++)); do
  while read -r model samples shards steps; do
    for ranks in 1 2; do
      reading[$model,$samples,$shards,$ranks]+="$(cost $ranks "$model" "$samples" "$shards" "$steps")"$'\n'
    done
  done <<<"$cases"
done
printf '%-12s %8s %7s %6s %16s %12s %12s\n' model samples shards ranks 'ms without' 'hashes, %' 'guards, %'
while read -r model samples shards steps; do
  for ranks in 1 2; do
    all=${reading[$model,$samples,$shards,$ranks]}
    column() { awk -v c="$1" 'NF {print $c}' <<<"$all" | median; }
    printf '%-12s %8s %7s %6s %16s %12s %12s\n' "$model" "$samples" "$shards" "$ranks" "$(column 1)" "$(column 2)" "$(column 3)"
  done
done <<<"$cases"
