#!/usr/bin/env bash
# curves.sh - training curves of dldist and PyTorch side by side: same network, data, order of samples, batch and optimizer.
#
# usage: benchmarks/curves.sh [-s SEEDS] [MODEL:STEPS]...    default: 3 seeds, cifar10-cnn:1500 kjv-lstm:300 kjv-gpt:150
#
# Reads data/cifar10.h5 and data/kjv.h5 (launchers/dataset cifar10, kjv), or those of the folder that DATA names. Prints for each
# seed, and for their mean, the mean loss over the last tenth of the steps and the ratio of the two programs. Only the initial
# weights differ. Needs python3-torch and python3-h5py (Debian). Losses do not depend on what else runs.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
seeds=3
if [ "${1:-}" = -s ]; then seeds=${2:?how many seeds} && shift 2; fi
models=("$@")
[ $# -gt 0 ] || models=(cifar10-cnn:1500 kjv-lstm:300 kjv-gpt:150)
dldist=${DLDIST:-build/release/dldist}
data=${DATA:-data}
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS OMP_NUM_THREADS DNNL_MAX_CPU_ISA ONEDNN_MAX_CPU_ISA
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
peer() { /usr/bin/python3 benchmarks/peers/torch_curve.py "$@"; }

ours() { # model seed; the losses of all steps
  "$dldist" train "examples/$1.yaml" -j 1 --quiet --run "$work/run" --resume never --set seed="$2" --set data.file="$work/data.h5" \
    --set data.shuffle=none --set data.valid=null --set schedule=constant --set train.epochs=1 --set log.every_steps=1 \
    --set sync.shards=1 >/dev/null
  sed -n 's/^{"event":"step".*"loss":\([^,}]*\).*/\1/p' "$work/run/metrics.jsonl"
}
tail_mean() { # file: the mean over the last tenth of its lines
  awk '{v[NR] = $1} END {m = int(NR / 10); for (i = NR - m + 1; i <= NR; i++) s += v[i]; printf "%.4f", s / m}' "$1"
}

row() { # model steps seed PyTorch dldist
  awk -v a="$4" -v b="$5" -v m="$1" -v n="$2" -v s="$3" \
    'BEGIN {printf "%-12s %6s %5s %9.4f %9.4f %8.4f\n", m, n, s, a, b, b / a}'
}

printf '%-12s %6s %5s %9s %9s %8s\n' model steps seed PyTorch dldist ratio
for entry in "${models[@]}"; do
  IFS=: read -r model steps <<<"$entry"
  : >"$work/means"
  for ((seed = 1; seed <= seeds; seed++)); do
    peer prepare "$model" "$data/${model%%-*}.h5" "$steps" "$seed" "$work/data.h5"
    peer train "$model" "$work/data.h5" "$seed" >"$work/peer"
    ours "$model" "$seed" >"$work/ours"
    for who in peer ours; do
      [ "$(wc -l <"$work/$who")" = "$steps" ] || { echo "curves.sh: $model: not $steps steps in $who's curve" >&2 && exit 1; }
    done
    row "$model" "$steps" "$seed" "$(tail_mean "$work/peer")" "$(tail_mean "$work/ours")" | tee -a "$work/means"
  done
  row "$model" "$steps" mean "$(awk '{s += $4} END {print s / NR}' "$work/means")" "$(awk '{s += $5} END {print s / NR}' "$work/means")"
done
