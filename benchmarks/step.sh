#!/usr/bin/env bash
# step.sh - a training step of dldist against PyTorch on this machine, in one run.
#
# usage: benchmarks/step.sh [ROUNDS]       rounds of each measurement, interleaved (default 5); the median of rounds is reported
#
# 784-512-512-10, Adam, 128 samples a rank, one thread a rank. PyTorch is taken at its best: jemalloc without decay, one thread,
# gloo over loopback. Needs python3-torch and libjemalloc2 (Debian). Nothing else should run meanwhile.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
rounds=${1:-5}
dldist=${DLDIST:-build/release/dldist}
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS OMP_NUM_THREADS DNNL_MAX_CPU_ISA ONEDNN_MAX_CPU_ISA
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
batch=128 steps=400
# shellcheck source=benchmarks/peers/ranks.sh
source benchmarks/peers/ranks.sh

ours() { # ranks shards
  mpirun -n "$1" --bind-to core "$dldist" bench step --batch $batch --steps $steps --shards "$2" |
    sed -n 's/^step: median \([0-9.]*\) ms.*/\1/p'
}
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

declare -A reading
declare -a m base ratio
for ((i = 0; i < rounds; i++)); do
  for ranks in 1 2; do
    reading[peer,$ranks]+="$(peer $ranks torch_step.py $batch $steps) "
    for shards in ranks auto; do reading[$shards,$ranks]+="$(ours $ranks $shards) "; done
  done
done
printf '%-28s %10s %10s\n' 'ms a step (median of rounds)' '1 rank' '2 ranks'
for who in peer ranks auto; do
  for ranks in 1 2; do
    m[ranks]=$(tr ' ' '\n' <<<"${reading[$who,$ranks]}" | sed '/^$/d' | median)
    [ "$who" = peer ] && base[ranks]=${m[ranks]}
    ratio[ranks]=$(awk -v a="${base[ranks]}" -v b="${m[ranks]}" 'BEGIN {printf "%.2f", a / b}')
  done
  case $who in peer) name='PyTorch (DDP at 2 ranks)' ;; ranks) name='dldist, shards = ranks' ;; *) name='dldist, shards: auto' ;; esac
  printf '%-28s %10s %10s   ratio to PyTorch %s, %s\n' "$name" "${m[1]}" "${m[2]}" "${ratio[1]}" "${ratio[2]}"
done
