#!/usr/bin/env bash
# overlap.sh - a training step on two hosts with 1 Gbit/s and 100 us between them, with and without sync.overlap.
#
# usage: benchmarks/overlap.sh [ROUNDS]      rounds of each measurement (default 3); the fastest of each is reported
#
# The hosts are network namespaces on this machine (tests/cluster), so it takes root. Computing is sleep here
# (tests/cluster/overlap.c), as the hosts share cores. Needs the tests to be built (launchers/test release); nothing else should run meanwhile.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
rounds=${1:-3}
build=${BUILD:-build/test}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
DLDIST_VSWITCH=$(readlink -f "$build/tests/vswitch") && export DLDIST_VSWITCH
program=$(readlink -f "$build/tests/cluster_overlap")
VC=$(mktemp -d)/cluster && export VC
vc() { bash tests/cluster/vc.sh "$@"; }
trap 'vc down 2>/dev/null; rm -rf "$(dirname "$VC")"' EXIT

vc up 2
for host in n1 n2; do vc shape "$host" 1000 50; done

# fastest OVERLAP(0|1) LAYERS FORWARD_MS BACKWARD_MS: ms a step
fastest() {
  for ((i = 0; i < rounds; i++)); do vc mpirun -H n1:1,n2:1 "$program" "$2" "$3" "$4" "$1"; done | sort -g | head -n 1
}
# A line of the table; 16 MiB are 134 ms on the wire for gradients and weights together.
line() { # WORDS LAYERS FORWARD_MS BACKWARD_MS
  local off on
  off=$(fastest 0 "$2" "$3" "$4")
  on=$(fastest 1 "$2" "$3" "$4")
  awk -v words="$1" -v off="$off" -v on="$on" 'BEGIN { printf "%-44s %10.1f %10.1f %8.2f\n", words, off, on, off / on }'
}
printf '%-44s %10s %10s %8s   (load %s)\n' 'ms a step, fastest round' 'in turn' 'overlap' 'ratio' "$(cut -d' ' -f1 /proc/loadavg)"
line 'exchange as long as backward (16 MiB)' 16 4 8
line 'all exchange (16 MiB)' 16 0.1 0.1
line 'all computing (2 MiB)' 2 20 40
