# shellcheck shell=bash
# ranks.sh - PyTorch at its best on 1 or more ranks, for the scripts of benchmarks/: jemalloc without decay, one core a rank, gloo over loopback.
# Usage: source benchmarks/peers/ranks.sh    (not run by itself)

jemalloc=$(find /usr/lib -name libjemalloc.so.2 -print -quit)
[ -n "$jemalloc" ] || { echo "$(basename "$0"): libjemalloc2 is not installed: PyTorch would not be at its best" >&2 && exit 2; }
peer_port=29511

# peer RANKS SCRIPT ARGUMENTS...: what rank 0 prints.
peer() {
  local r pids=()
  for ((r = 1; r < $1; r++)); do
    peer_rank "$r" "$@" >/dev/null & pids+=($!)
  done
  peer_rank 0 "$@"
  for p in "${pids[@]}"; do wait "$p"; done
}
# peer_rank RANK RANKS SCRIPT ARGUMENTS...
peer_rank() {
  local rank=$1 ranks=$2 script=$3 bind=() world=()
  shift 3
  if command -v taskset >/dev/null; then bind=(taskset -c "$rank"); fi
  if [ "$ranks" -gt 1 ]; then
    world=(MASTER_ADDR=127.0.0.1 "MASTER_PORT=$peer_port" "RANK=$rank" "WORLD_SIZE=$ranks" GLOO_SOCKET_IFNAME=lo)
  fi
  env "${world[@]}" LD_PRELOAD="$jemalloc" MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1 \
    "${bind[@]}" /usr/bin/python3 "benchmarks/peers/$script" "$@"
}
