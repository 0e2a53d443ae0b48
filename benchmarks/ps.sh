#!/usr/bin/env bash
# ps.sh - parameter servers on this machine: what travels beside ZeroMQ alone, whole steps beside allreduce, and asynchronous
# steps beside synchronous ones where one of two workers is slow; in one run.
#
# usage: benchmarks/ps.sh [ROUNDS]       rounds of each training, interleaved (default 3); the median of rounds is reported
#
# Training: Fashion-MNIST (launchers/dataset fashion-mnist), 784-512-512-10, Adam, batches of 256 in 2 shards, 2 workers beside one
# server on this host, one worker a core. The slow worker is stopped for 20 of every 30 ms. A figure is the median of the steps' samples_per_s in the
# second half of the run (with a slow worker: their mean over it). Nothing else should run meanwhile.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
rounds=${1:-3}
dldist=$(readlink -f "${DLDIST:-build/release/dldist}")
data=$(readlink -f "${DATA:-data/fashion-mnist.h5}")
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS OMP_NUM_THREADS DNNL_MAX_CPU_ISA ONEDNN_MAX_CPU_ISA
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/mlp.yaml" <<YAML
name: ps
data: {file: "$data"}
model: [flatten, {dense: 512}, relu, {dense: 512}, relu, {dense: 10}]
optimizer: {name: adam, lr: 0.001}
train: {epochs: 6, batch: 256}
sync: {shards: 2}
checkpoint: {every_minutes: 60}
YAML

median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
# speeds RUN: samples a second of each step in the second half.
speeds() {
  sed -n 's/.*"event":"step","time":\([0-9.e+-]*\),.*"samples_per_s":\([0-9.e+]*\),.*/\1 \2/p' "$1/metrics.jsonl" |
    awk '{t[NR] = $1; v[NR] = $2} END {for (i = int(NR / 2) + 1; i <= NR; i++) print v[i], t[i]}'
}
typical() { speeds "$1" | cut -d ' ' -f 1 | median; }
overall() { speeds "$1" | awk 'NR == 1 {begin = $2} {end = $2} END {print 256 * (NR - 1) / (end - begin)}'; }

# stutter PROCESS: a third of its speed, until it is gone.
stutter() {
  while kill -STOP "$1" 2>/dev/null; do
    sleep 0.02
    kill -CONT "$1" 2>/dev/null || break
    sleep 0.01
  done
}

# on CORE COMMAND...: in this process, so that it can be stopped.
on() {
  local core=$1
  shift
  if command -v taskset >/dev/null; then exec taskset -c "$core" "$@"; else exec "$@"; fi
}

# serve RUN SLOW ARGUMENTS...: a server and two workers, the first of which is slow (1) or not (0).
serve() {
  local run=$1 slow=$2 address="ipc://$work/$1.socket" first server helper=''
  shift 2
  "$dldist" ps serve "$work/mlp.yaml" --bind "$address" --run "$work/$run" --quiet "$@" >/dev/null &
  server=$!
  on 0 "$dldist" train "$work/mlp.yaml" --set sync.mode=ps --set "sync.connect='$address'" -j 1 --quiet &
  first=$!
  on 1 "$dldist" train "$work/mlp.yaml" --set sync.mode=ps --set "sync.connect='$address'" -j 1 --quiet &
  if [ "$slow" = 1 ]; then
    stutter "$first" &
    helper=$!
  fi
  wait "$server"
  kill -CONT "$first" 2>/dev/null || true
  wait "$first" || true
  [ -z "$helper" ] || wait "$helper" || true
  wait
}

"$dldist" bench ps
declare -A reading
for ((i = 0; i < rounds; i++)); do
  mpirun -n 2 --bind-to core "$dldist" train "$work/mlp.yaml" --run "$work/allreduce$i" --quiet >/dev/null
  mpirun -n 2 --bind-to core "$dldist" train "$work/mlp.yaml" --set sync.mode=ps --run "$work/team$i" --quiet >/dev/null
  serve "bsp$i" 0
  serve "slow-bsp$i" 1
  serve "slow-asp$i" 1 --set sync.consistency=asp
  serve "slow-asp-unlogged$i" 1 --set sync.consistency=asp --set sync.log=none
  for who in allreduce team bsp; do reading[$who]+="$(typical "$work/$who$i") "; done
  for who in slow-bsp slow-asp slow-asp-unlogged; do reading[$who]+="$(overall "$work/$who$i") "; done
done
declare -A m
for who in allreduce team bsp slow-bsp slow-asp slow-asp-unlogged; do m[$who]=$(tr ' ' '\n' <<<"${reading[$who]}" | sed '/^$/d' | median); done
over() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", a / b}'; }
printf '%-44s %9s\n' 'samples/s, 2 workers (median of rounds)' ''
printf '%-44s %9.0f\n' 'allreduce' "${m[allreduce]}"
printf '%-44s %9.0f   a step takes %s of it\n' 'sync.mode: ps, one job' "${m[team]}" "$(over "${m[allreduce]}" "${m[team]}")"
printf '%-44s %9.0f   a step takes %s of it\n' 'dldist ps serve, bsp' "${m[bsp]}" "$(over "${m[allreduce]}" "${m[bsp]}")"
printf '%-44s %9.0f\n' 'one worker at a third of its speed: bsp' "${m[slow-bsp]}"
printf '%-44s %9.0f   %s of bsp\n' 'one worker at a third of its speed: asp' "${m[slow-asp]}" "$(over "${m[slow-asp]}" "${m[slow-bsp]}")"
printf '%-44s %9.0f   %s of bsp\n' 'the same, sync.log: none' "${m[slow-asp-unlogged]}" "$(over "${m[slow-asp-unlogged]}" "${m[slow-bsp]}")"
