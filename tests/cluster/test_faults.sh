#!/usr/bin/env bash
# What happens when a rank is stopped or killed, or a host cut off, at a moment that nobody chose: all others end within
# sync.timeout + 5 s, one line says which rank on which host and in which step and phase, and nothing is left behind.
# Usage: tests/cluster/test_faults.sh    (by ctest; FAULTS=20 for twenty of each kind)
set -euo pipefail
# shellcheck source=tests/cluster/hosts.sh
source "$(dirname "${BASH_SOURCE[0]}")/hosts.sh"
rounds=${FAULTS:-1}
timeout=3

hosts 2
cat >endless.yaml <<YAML
name: endless
data: {file: "$DIGITS", valid: 0.1}
model: [flatten, {dense: 160}, relu, {dense: 160}, relu, {dense: 10}]
train: {epochs: 1000000, batch: 100}
checkpoint: {every_epochs: 0}
sync: {shards: 12, timeout: $timeout}
YAML

ranks_on() { vc exec "$1" pgrep -x dldist 2>/dev/null || true; }
# running HOST...: some rank is on one of them.
running() {
  local host
  for host in "$@"; do [ -z "$(ranks_on "$host")" ] || return 0; done
  return 1
}
started=0
now_ms() { date +%s%3N; }

# begin HOSTS: starts training there; returns when steps are done.
begin() {
  rm -rf endless
  err=err-$((++started)) # whoever is left of an earlier one may still write to its own
  bash "$here/vc.sh" mpirun -H "$1" "$DLDIST" train endless.yaml --run endless --quiet >out 2>"$err" </dev/null &
  mpirun=$!
  for ((tries = 0; tries < 600; tries++)); do
    if grep -qs '"event":"step"' endless/metrics.jsonl; then break; fi
    sleep 0.05
  done
  sleep "$((RANDOM % 2)).$((RANDOM % 1000 + 1000))"
}

# fault KIND HOSTS NUMBER: of the ranks on the last host, numbered from 1.
fault() {
  local kind=$1 where=$2 host=n1 victim since waited said left
  [[ $where != *n2* ]] || host=n2
  begin "$where"
  victim=$(ranks_on "$host" | sed -n "$3p")
  since=$(now_ms)
  case $kind in
    stopped) vc exec "$host" kill -STOP "$victim" ;;
    killed) vc exec "$host" kill -KILL "$victim" ;;
    cut) vc cut "$host" ;;
  esac
  while running n1 n2 && [ $(($(now_ms) - since)) -lt 60000 ]; do sleep 0.1; done
  waited=$(($(now_ms) - since))
  holds "$kind, $where: all ranks are gone after $waited ms" test "$waited" -le $(((timeout + 5) * 1000))
  # Cut off from a host's daemon, mpirun itself waits for the network's own time limit.
  [ "$kind" != cut ] || kill -KILL "$mpirun"
  code=0
  wait "$mpirun" 2>/dev/null || code=$?
  [ "$kind" != stopped ] || check "$kind, $where: the exit code is that of a lost rank" 4 "$code"
  said=$(grep -c '^dldist: ' "$err" || true)
  check "$kind, $where: one line" 1 "$said"
  grep '^dldist: ' "$err" >said || true
  holds "$kind, $where: it names rank, host, step and phase: $(cut -c 1-90 said)" \
    grep -qE "ranks? [0-9, ]+ on $host (did not come|was lost).* in step [0-9]+, phase [a-z]+" said
  if [ "$kind" = cut ]; then
    vc heal "$host"
    vc exec "$host" pkill -KILL orted || true # its mpirun is gone
  fi
  left=$(for h in n1 n2; do vc exec "$h" ls /dev/shm | grep -v '^ompi' || true; done)
  check "$kind, $where: no shared memory is left" '' "$left"
  left=$(for h in n1 n2; do awk '$4 == "0A"' <(vc exec "$h" cat /proc/net/tcp); done)
  check "$kind, $where: no port is left" '' "$left"
}

for ((round = 0; round < rounds; round++)); do
  fault stopped n1:2,n2:2 $((RANDOM % 2 + 1))
  fault killed n1:2,n2:2 $((RANDOM % 2 + 1))
  fault cut n1:2,n2:2 1
  fault stopped n1:3 $((RANDOM % 3 + 1))
  fault killed n1:3 $((RANDOM % 3 + 1))
done
finish
