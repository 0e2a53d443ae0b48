#!/usr/bin/env bash
# overlap.sh - a training step on two hosts, with and without sync.overlap: at 1 Gbit/s and 100 us between them, and unshaped.
#
# usage: benchmarks/overlap.sh [ROUNDS]      rounds of each measurement, interleaved (default 3); the fastest of each is reported
#
# The hosts are network namespaces on this machine (tests/cluster), so it takes root, and they share its cores: with as many ranks as
# cores, what moves messages takes its time from what computes. First with computing replaced by sleep (tests/cluster/overlap.c), which
# shows what is hidden where cores are left; then networks of `dldist bench step`, which compute. Needs the tests to be built
# (launchers/test release); nothing else should run meanwhile.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
rounds=${1:-3}
build=${BUILD:-build/test}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
DLDIST_VSWITCH=$(readlink -f "$build/tests/vswitch") && export DLDIST_VSWITCH
sleeper=$(readlink -f "$build/tests/cluster_overlap")
dldist=$(readlink -f "${DLDIST:-$build/dldist}")
VC=$(mktemp -d)/cluster && export VC
vc() { bash tests/cluster/vc.sh "$@"; }
trap 'vc down 2>/dev/null; rm -rf "$(dirname "$VC")"' EXIT
vc up 2

# link RATE_MBIT DELAY_US: of both hosts; 0 0: none
link() { for host in n1 n2; do vc shape "$host" "$1" "$2"; done; }

# What is timed, OVERLAP(0|1) first: prints ms a step.
sleeping() { vc mpirun -H n1:1,n2:1 "$sleeper" "$2" "$3" "$4" "$1"; } # LAYERS FORWARD_MS BACKWARD_MS
computing() {                                                         # MODEL BATCH STEPS; the mean: work moves from step to step
  local overlap=false
  [ "$1" = 0 ] || overlap=true
  vc mpirun -H n1:1,n2:1 "$dldist" bench step --model "$2" --batch "$3" --steps "$4" --set "sync.overlap=$overlap" 2>/dev/null |
    sed -n 's/^step: .* mean \([0-9.]*\) ms.*/\1/p'
}
fastest() { tr ' ' '\n' <<<"$1" | sed '/^$/d' | sort -g | head -n 1; }

# line WORDS COMMAND...: of the table.
line() {
  local words=$1 off='' on=''
  shift
  for ((i = 0; i < rounds; i++)); do
    off+="$("$1" 0 "${@:2}") "
    on+="$("$1" 1 "${@:2}") "
  done
  awk -v words="$words" -v off="$(fastest "$off")" -v on="$(fastest "$on")" \
    'BEGIN { printf "%-44s %10.1f %10.1f %8.2f\n", words, off, on, off / on }'
}
models() {
  line "$1, mlp, 128 samples a rank" computing mlp 128 60
  line "$1, cifar10-cnn, 32" computing cifar10-cnn 32 60
  line "$1, cifar10-cnn, 64" computing cifar10-cnn 64 40
  line "$1, lstm, 32 windows" computing lstm 32 10
}
printf '%-44s %10s %10s %8s   (load %s)\n' 'ms a step, fastest round' 'in turn' 'overlap' 'ratio' "$(cut -d' ' -f1 /proc/loadavg)"
link 1000 50
# 16 MiB are 134 ms on the wire for gradients and weights together.
line 'asleep, exchange as long as backward (16 MiB)' sleeping 16 4 8
line 'asleep, all exchange (16 MiB)' sleeping 16 0.1 0.1
line 'asleep, all computing (2 MiB)' sleeping 2 20 40
models '1 Gbit/s'
link 0 0
models unshaped
