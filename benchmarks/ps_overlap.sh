#!/usr/bin/env bash
# ps_overlap.sh - a step of a worker of `dldist ps serve` on another host, with and without sync.overlap, at 1 Gbit/s and 100 us
# between them; and with few elements (sync.compress: topk).
#
# usage: benchmarks/ps_overlap.sh [ROUNDS]      rounds, interleaved (default 3); the fastest of each is reported
#
# The hosts are network namespaces on this machine (tests/cluster), so it takes root, and the server and its worker share its
# cores. Fashion-MNIST (launchers/dataset fashion-mnist), batches of 128 in one shard, one worker: nothing but overlap hides its
# messages. A figure is the median of the steps 11 to STEPS (60). Needs the tests to be built (launchers/test release); nothing
# else should run meanwhile.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
rounds=${1:-3}
steps=${STEPS:-60}
build=${BUILD:-build/test}
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
DLDIST_VSWITCH=$(readlink -f "$build/tests/vswitch") && export DLDIST_VSWITCH
dldist=$(readlink -f "${DLDIST:-$build/dldist}")
data=$(readlink -f "${DATA:-data/fashion-mnist.h5}")
work=$(mktemp -d)
VC=$work/cluster && export VC
vc() { bash tests/cluster/vc.sh "$@"; }
trap 'vc down 2>/dev/null; rm -rf "$work"' EXIT

# model NAME LAYERS: a configuration.
model() {
  cat >"$work/$1.yaml" <<YAML
name: $1
data: {file: "$data"}
model: $2
optimizer: {name: adam, lr: 0.001}
train: {epochs: 10, batch: 128}
sync: {shards: 1, key: "$work/worker.key", server_key: "$work/server.pub"}
checkpoint: {every_minutes: 60}
YAML
}
for name in server worker; do (cd "$work" && "$dldist" ps keygen "$name" >/dev/null); done
model mlp '[flatten, {dense: 512}, relu, {dense: 512}, relu, {dense: 10}]'
model cnn '[{reshape: [1, 28, 28]}, {conv2d: {filters: 32, kernel: 3, padding: 1}}, relu, maxpool2d: 2, {conv2d: {filters: 64, kernel: 3, padding: 1}}, relu, maxpool2d: 2, flatten, {dense: 512}, relu, {dense: 10}]'
sed -i 's/maxpool2d: 2/{maxpool2d: 2}/g' "$work/cnn.yaml"
vc up 2
for host in n1 n2; do vc shape "$host" 1000 50; done

lines() { grep -c '"event":"step"' "$1/metrics.jsonl" 2>/dev/null || [ -r "$1/metrics.jsonl" ] || echo 0; }
# timed MODEL ARGUMENTS...: prints the median of a step's milliseconds.
timed() {
  local run=$work/run config=$work/$1.yaml server
  shift
  rm -rf "$run"
  vc exec n1 "$dldist" ps serve "$config" --bind 'tcp://*:5555' --key "$work/server.key" --allow "$work/worker.pub" --run "$run" --quiet "$@" \
    >"$work/server.out" 2>&1 &
  server=$!
  vc exec n2 "$dldist" train "$config" --set sync.mode=ps --set sync.connect=tcp://n1:5555 -j 1 --quiet "$@" >"$work/worker.out" 2>&1 &
  while kill -0 "$server" 2>/dev/null && [ "$(lines "$run")" -lt "$steps" ]; do sleep 0.1; done
  vc exec n1 pkill -TERM -x dldist || true
  wait "$server" || true
  wait || true
  sed -n 's/.*"event":"step".*"samples_per_s":\([0-9.e+]*\),.*/\1/p' "$run/metrics.jsonl" | sed -n "11,${steps}p" | awk '{print 128000 / $1}' | sort -g |
    awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'
}
fastest() { tr ' ' '\n' <<<"$1" | sed '/^$/d' | sort -g | head -n 1; }

# line WORDS MODEL ARGUMENTS...: of the table.
line() {
  local words=$1 off='' on=''
  shift
  for ((i = 0; i < rounds; i++)); do
    off+="$(timed "$@" --set sync.overlap=false) "
    on+="$(timed "$@") "
  done
  awk -v words="$words" -v off="$(fastest "$off")" -v on="$(fastest "$on")" \
    'BEGIN { printf "%-44s %10.1f %10.1f %8.2f\n", words, off, on, off / on }'
}
printf '%-44s %10s %10s %8s   (load %s)\n' 'ms a step, fastest round' 'in turn' 'overlap' 'ratio' "$(cut -d' ' -f1 /proc/loadavg)"
line 'mlp, 669,706 parameters' mlp
line 'cnn, 1,630,090 parameters' cnn
line 'cnn, asp' cnn --set sync.consistency=asp --set sync.log=none
line 'cnn, asp, topk 0.01' cnn --set sync.consistency=asp --set sync.log=none --set sync.compress=topk
