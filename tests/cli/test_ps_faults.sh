#!/usr/bin/env bash
# Parameter servers that are killed and begun again, workers that are killed and join, and a network that delays, doubles and
# loses messages, all at random times: bsp keeps the bits of allreduce, ssp and asp lose nothing that was acknowledged.
# DLDIST_TEST_RUNS=50 for fifty random runs instead of five.
# Usage: tests/cli/test_ps_faults.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
runs=${DLDIST_TEST_RUNS:-5}
RANDOM=${DLDIST_TEST_SEED:-20261}

cat >digits.yaml <<YAML
name: faults
data: {file: "$DIGITS", valid: 0.1}
model: [flatten, {dense: 24}, batchnorm, relu, {dropout: 0.1}, {dense: 10}]
optimizer: {name: adam, lr: 0.003}
train: {epochs: 4, batch: 50}
sync: {shards: 8}
YAML

children=()
stop_all() {
  for pid in "${children[@]}"; do
    pkill -9 -P "$pid" || true
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  cd / && rm -rf "$work"
}
trap stop_all EXIT

# serve RUN ARGUMENTS...: a server with its supervisor in the background: `server` is the supervisor's process.
serve() {
  local folder=$1
  shift
  "$DLDIST" ps serve digits.yaml --supervise "$@" --run "$folder" >"$folder.out" 2>"$folder.err" </dev/null &
  server=$!
  children+=("$server")
}
# work_for ADDRESS ARGUMENTS...: a worker in the background; `worker` is its process.
work_for() {
  local address=$1
  shift
  "$DLDIST" train digits.yaml --set sync.mode=ps --set "sync.connect='$address'" -j 1 "$@" >>work.out 2>>work.err </dev/null &
  worker=$!
  children+=("$worker")
}
# bad_network FRONT BACK: between workers and a server.
bad_network() {
  "$DLDIST_PS_PROXY" "$1" "$2" "$RANDOM" 8 60 4 2>>proxy.err &
  children+=("$!")
}
kill_worker() {
  kill -9 "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}
kill_server() { pkill -9 -P "$server" || true; }
# await STEP RUN: until the run has passed the step, or is over (or two minutes have passed).
await() {
  for _ in $(seq 6000); do
    [ "$(last_step "$2")" -lt "$1" ] || return 0
    kill -0 "$server" 2>/dev/null || return 0
    sleep 0.02
  done
}
ends() {
  code=0 && wait "$server" || code=$?
  check "$1" 0 "$code"
}
digest() { end_of "$1" weights_sha256; }

run alone train digits.yaml --run whole --quiet
check 'there is a digest' 64 "$(digest whole | tr -d '\n' | wc -c)"

ways=(--set=sync.transport=auto --set=sync.transport=mpi) # in memory; as messages, in parts of a few blocks
say "bsp: $runs runs, everybody killed at random"
for i in $(seq "$runs"); do
  k=$((1 + RANDOM % 3)) n=$((1 + RANDOM % 4)) workers=()
  serve "r$i" -j "$k" --bind "ipc://$work/at-r$i" --set sync.bucket_mb=0.001
  for t in $(seq "$n"); do work_for "ipc://$work/at-r$i" "${ways[t % 2]}" && workers+=("$worker"); done
  await $((1 + RANDOM % 40)) "r$i"
  work_for "ipc://$work/at-r$i" "${ways[1]}"
  kill_worker "${workers[0]}"
  await $((45 + RANDOM % 50)) "r$i"
  kill_server
  ends "run $i ($k servers, $n workers and one that joins) ends"
  check 'with the weights of allreduce' "$(digest whole)" "$(digest "r$i")"
  check 'each step once' '1-104 each once' "$(steps_of "r$i")"
done

# It is waited for behind the runs that follow: a bad network is mostly waited for.
run alone train digits.yaml --run short --quiet --set train.epochs=1
serve bad -j 2 --bind "ipc://$work/at-bad" --set train.epochs=1 --set sync.bucket_mb=0.001
bad_server=$server bad_workers=()
bad_network "ipc://$work/at-badly" "ipc://$work/at-bad"
bad_network "ipc://$work/at-badly.1" "ipc://$work/at-bad.1"
for t in 1 2 3; do work_for "ipc://$work/at-badly" --set sync.timeout=60 "${ways[t % 2]}" && bad_workers+=("$worker"); done

# judged KIND SERVERS BOUND EPOCHS COMPRESS: a run with checkpoints so often, over a bad network in which a server and a worker are killed, judged by what all wrote.
judged() {
  local kind=$1 k=$2 bound=$3 every=$4 few=(--set "sync.compress=$5" --set sync.topk=0.1) first killed_at
  mkdir "told-$kind"
  export DLDIST_PS_HISTORY=$work/told-$kind
  serve "$kind" -j "$k" --bind "ipc://$work/at-$kind" --set "sync.consistency=$kind" --set sync.staleness=2 --set train.epochs=2 \
    --set "checkpoint.every_epochs=$every" --set sync.bucket_mb=0.001 "${few[@]}"
  for s in $(seq 0 $((k - 1))); do
    if [ "$s" = 0 ]; then bad_network "ipc://$work/at-$kind-bad" "ipc://$work/at-$kind"; else bad_network "ipc://$work/at-$kind-bad.$s" "ipc://$work/at-$kind.$s"; fi
  done
  work_for "ipc://$work/at-$kind-bad" "${few[@]}" && first=$worker
  work_for "ipc://$work/at-$kind-bad" "${few[@]}" "${ways[1]}"
  await $((4 + RANDOM % 14)) "$kind"
  kill_server
  killed_at=$(last_step "$kind") # on a busy machine the run may be over before it is seen to have begun
  await $((28 + RANDOM % 10)) "$kind"
  work_for "ipc://$work/at-$kind-bad" "${few[@]}"
  kill_worker "$first"
  ends "$kind: the run ends"
  unset DLDIST_PS_HISTORY
  check 'each step once' '1-52 each once' "$(steps_of "$kind")"
  [ "$every" != 0 ] || [ "$killed_at" -gt 40 ] || contains 'what was in the log is in the weights again' 'pushes since step 0' "$kind.err"
  if "$DLDIST_PS_JUDGE" "told-$kind" "$bound" >verdict; then
    say "ok: nothing that was acknowledged is lost or twice, nothing is too stale: $(cat verdict)"
  else
    say "FAILED: $(cat verdict)"
    failed=1
  fi
}
if [ "$runs" -gt 5 ]; then
  say 'a worker that is stopped (and does not hang up) has its leaves handed over within ten seconds'
  serve halted --bind "ipc://$work/at-halted"
  work_for "ipc://$work/at-halted" && first=$worker
  work_for "ipc://$work/at-halted"
  await 20 halted
  kill -STOP "$first"
  ends 'the run ends'
  check 'with the weights of allreduce' "$(digest whole)" "$(digest halted)"
  contains 'the server has seen that it is gone' 'is gone; 1 unit' halted.err
  kill_worker "$first"
fi

say 'ssp and asp over a bad network: nothing that was acknowledged is lost'
judged ssp 1 2 0 topk
judged asp 2 -1 1 none

say 'bsp over a bad network'
server=$bad_server
ends 'the run ends'
check 'with the weights of allreduce' "$(digest short)" "$(digest bad)"
for pid in "${bad_workers[@]}"; do
  code=0 && wait "$pid" || code=$?
  check 'and a worker hears of it' 0 "$code"
done

say 'a log that has grown asks for a checkpoint'
wide='model=[flatten, {dense: 700}, relu, {dense: 10}]'
serve grown --bind "ipc://$work/at-grown" --set sync.consistency=ssp --set sync.staleness=1 --set sync.log_mb=1 \
  --set train.epochs=1 --set checkpoint.every_epochs=0 --set "$wide"
work_for "ipc://$work/at-grown" --set "$wide"
ends 'the run ends'
check 'each step once' '1-26 each once' "$(steps_of grown)"
holds 'with checkpoints within the epoch' test "$(events checkpoint grown | wc -l)" -gt 3
holds 'and a log that is cut' test "$(stat -c %s grown/pushes/server-0.log)" -lt 10000

say 'the judge sees what is wrong'
# spoilt SENTENCE BOUND SED-EXPRESSION: a history that is not so.
spoilt() {
  rm -rf spoilt && cp -r told-ssp spoilt
  sed -i "$3" spoilt/server-0
  code=0 && "$DLDIST_PS_JUDGE" spoilt "$2" >verdict || code=$?
  check "$1" 1 "$code"
}
line=$(grep -n '^apply' told-ssp/server-0 | tail -n 1 | cut -d: -f1)
spoilt 'an update that is lost' 2 "${line}d"
spoilt 'an update that is there twice' 2 "${line}p"
spoilt 'weights that were too old' 2 "${line}"'s/ [0-9]* \([0-9]*\)$/ 0 \1/'
spoilt 'a bound that was not kept' 0 ''

say 'the supervisor'
serve kept --bind "ipc://$work/at-kept" --set train.epochs=4000
work_for "ipc://$work/at-kept"
await 20 kept
child=$(pgrep -P "$server")
begin=$SECONDS
kill_server
for _ in $(seq 500); do [ "$(pgrep -P "$server" || echo "$child")" = "$child" ] || break && sleep 0.02; done
holds 'a killed server is followed by another' test "$(pgrep -P "$server")" != "$child"
holds 'within ten seconds' test $((SECONDS - begin)) -lt 10
contains 'and it is said why' 'ended by a signal (Killed)' kept.err
await 60 kept
kill -TERM "$server"
code=0 && wait "$server" || code=$?
check 'told to stop: the exit code of the server' 75 "$code"
holds 'which has written a checkpoint' test -e kept/checkpoints/latest/state.json
serve kept --bind "ipc://$work/at-kept" --set train.epochs=4000
work_for "ipc://$work/at-kept"
await $(($(last_step kept) + 10)) kept
child=$(pgrep -P "$server")
kill -9 "$server"
wait "$server" 2>/dev/null || true
for _ in $(seq 1000); do kill -0 "$child" 2>/dev/null || break && sleep 0.02; done
holds 'a server does not outlive its supervisor' test ! -e "/proc/$child/stat"
try alone ps serve digits.yaml --supervise --run wrong --bind "ipc://$work/at-w" --set train.epochs=0
check 'a wrong configuration: exit code' 2 "$code"
check 'is not tried again' 0 "$(grep -c 'begun again' err || true)"
try alone ps serve digits.yaml --supervise --bind "ipc://$work/at-w"
check 'no folder to go on from' 2 "$code"
try r2 ps serve digits.yaml --supervise --run wrong --bind "ipc://$work/at-w"
check 'under a launcher' 2 "$code"
finish
