#!/usr/bin/env bash
# models.sh - training steps of image and sequence networks: dldist against PyTorch on this machine, in one run.
#
# usage: benchmarks/models.sh [ROUNDS] [MODEL:BATCH:STEPS]...     rounds of each measurement, interleaved (default 5)
#
# Whole steps with Adam, the update included, one thread a rank, 1 and 2 ranks, shards = ranks; the median of rounds is reported,
# and the fastest round beside it. PyTorch is taken at its best: jemalloc without decay, one thread, images channels last, gloo over
# loopback. Needs python3-torch and libjemalloc2 (Debian). Nothing else should run meanwhile: where it does, the load is printed, and
# the ratios of the fastest rounds say more.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
rounds=${1:-5}
shift || true
models=("$@")
[ $# -gt 0 ] || models=(cifar10-cnn:32:200 cifar10-cnn:128:80 resnet20:128:12 lstm:32:25 gpt:16:10)
dldist=${DLDIST:-build/release/dldist}
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS OMP_NUM_THREADS DNNL_MAX_CPU_ISA ONEDNN_MAX_CPU_ISA
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# shellcheck source=benchmarks/peers/ranks.sh
source benchmarks/peers/ranks.sh

ours() { # ranks model batch steps; prints ms and parameters
  mpirun -n "$1" --bind-to core "$dldist" bench step --model "$2" --batch "$3" --steps "$4" --shards ranks |
    awk '/ parameters,/ {n = $2} /^step: median/ {print $3, n}'
}
order() { tr ' ' '\n' <<<"$1" | sed '/^$/d' | sort -n; }
median() { order "$1" | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
fastest() { order "$1" | head -n 1; }
over() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", a / b}'; }

declare -A reading parameters
for ((i = 0; i < rounds; i++)); do
  for entry in "${models[@]}"; do
    IFS=: read -r model batch steps <<<"$entry"
    for ranks in 1 2; do
      for who in peer ours; do
        words=("$ranks")
        [ "$who" = ours ] || words+=(torch_model.py)
        read -r ms n <<<"$("$who" "${words[@]}" "$model" "$batch" "$steps")"
        reading[$entry,$ranks,$who]+="$ms "
        parameters[$entry,$who]=$n
        echo "round $((i + 1)) $entry, $ranks ranks, $who: $ms ms, load $(cut -d' ' -f1 /proc/loadavg)" >&2
      done
    done
    [ "${parameters[$entry,peer]}" = "${parameters[$entry,ours]}" ] ||
      { echo "models.sh: $model has ${parameters[$entry,ours]} parameters, its peer ${parameters[$entry,peer]}" >&2 && exit 1; }
  done
done
printf '%-18s %5s | %26s | %26s\n' '' '' 'median of rounds, ms' 'fastest round, ms'
printf '%-18s %5s | %8s %8s %8s | %8s %8s %8s\n' 'model, batch a rank' ranks PyTorch dldist ratio PyTorch dldist ratio
for entry in "${models[@]}"; do
  IFS=: read -r model batch _ <<<"$entry"
  for ranks in 1 2; do
    a=${reading[$entry,$ranks,peer]} b=${reading[$entry,$ranks,ours]}
    printf '%-18s %5s | %8s %8s %8s | %8s %8s %8s\n' "$model $batch" "$ranks" "$(median "$a")" "$(median "$b")" \
      "$(over "$(median "$a")" "$(median "$b")")" "$(fastest "$a")" "$(fastest "$b")" "$(over "$(fastest "$a")" "$(fastest "$b")")"
  done
done
