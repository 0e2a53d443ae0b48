#!/usr/bin/env bash
# Bits that flip on three hosts: of gradients before the exchange, with every step's proof, and of weights, each host's copy
# its own memory. Every gradient that was audited and every weight is caught, and the host, the rank and the parameter are named.
# Usage: tests/cluster/test_flips.sh    (by ctest; FLIPS=1000 for a thousand of each)
set -euo pipefail
# shellcheck source=tests/cluster/hosts.sh
source "$(dirname "${BASH_SOURCE[0]}")/hosts.sh"
: "${DLDIST_BUILD:?is not set: run the tests through ctest}"
export FLIPS=${FLIPS:-20}
DLDIST=$DLDIST_BUILD/tests/mpi_guards
limit=3600
hosts 3

# all SENTENCE HOSTS: the program has made its trials there, with one thread a rank and with two.
all() {
  on "$2"
  check "$1: passes" 0 "$code"
  cat out err
  check "$1: by both" 2 "$(grep -c ': passed$' out || true)"
  check "$1: weights, as many found as made" 8 \
    "$(sed -n 's/^weights, .* on 3 nodes: \([0-9]*\) flips, \([0-9]*\) audited, \([0-9]*\) caught.*/\1 \3/p' out | awk '$1 == $2 && $1 > 0' | wc -l)"
  check "$1: gradients, as many found as audited" 4 \
    "$(sed -n 's/^gradients, .* \([0-9]*\) audited, \([0-9]*\) caught.*/\1 \2/p' out | awk '$1 == $2 && $1 > 0' | wc -l)"
}
all 'a rank a host' n1:1,n2:1,n3:1
all 'two ranks a host' n1:2,n2:2,n3:2
finish
