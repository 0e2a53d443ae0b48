# shellcheck shell=bash
# What the tests on several hosts share: a cluster of their own that goes away. Without the privileges that it takes they are
# skipped (77). See tests/cli/lib.sh for what they say.
# Usage: source "$(dirname "${BASH_SOURCE[0]}")/hosts.sh"    (not run by itself)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/cli/lib.sh
source "$here/../cli/lib.sh"

skip() {
  say "skipped: $*"
  exit 77
}

for tool in unshare nsenter ip sysctl mpirun; do
  command -v "$tool" >/dev/null || skip "there is no $tool (Debian: util-linux, iproute2, procps, openmpi-bin)"
done
[ "$(id -u)" = 0 ] || skip 'a cluster of network namespaces takes root'
[ -c /dev/net/tun ] || skip 'there is no /dev/net/tun'
unshare -n -u -i -m -p --fork true 2>/dev/null || skip 'this machine (or container) allows no namespaces'

export VC=$work/cluster
vc() { bash "$here/vc.sh" "$@"; }
trap 'cd /; vc down 2>/dev/null; rm -rf "$work"' EXIT

# hosts N
hosts() { vc up "$1" || skip "the cluster does not come up: $(cat "$VC"/*.log 2>/dev/null | tail -n 3)"; }

# on HOSTS ARGUMENTS...: dldist under mpirun on these hosts; `code`, $work/out and $work/err are its.
# Extra words for mpirun are in the array `mpi_words`.
mpi_words=()
on() {
  local where=$1
  shift
  code=0
  timeout -k 5 "${limit:-120}" bash "$here/vc.sh" mpirun "${mpi_words[@]}" -H "$where" "$DLDIST" "$@" >"$work/out" 2>"$work/err" \
    </dev/null || code=$?
}
