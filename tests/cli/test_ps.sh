#!/usr/bin/env bash
# Parameter servers: the bits of allreduce at any number of servers and workers, in one job and outside MPI, with workers and
# servers killed and begun again, with keys and among strangers.
# Usage: tests/cli/test_ps.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cat >digits.yaml <<YAML
name: servers
data: {file: "$DIGITS", valid: 0.1}
model: [flatten, {dense: 256}, batchnorm, tanh, {dropout: 0.1}, {dense: 10}]
optimizer: {name: lamb, lr: 0.003}
train: {epochs: 4, batch: 50, clip_norm: 0.5}
sync: {shards: 8}
YAML
sed 's/lamb/adam/; s/, clip_norm: 0.5//' digits.yaml >adam.yaml

servers=() workers=()
stop_all() {
  for pid in "${servers[@]}" "${workers[@]}"; do pkill -9 -P "$pid" || true; done
  cd / && rm -rf "$work"
}
trap stop_all EXIT

# serve RUN ARGUMENTS...: a server in the background, over a socket of its own; its output in RUN.out and RUN.err.
serve() {
  local folder=$1
  shift
  timeout 240 "$DLDIST" ps serve "$@" --run "$folder" >"$folder.out" 2>"$folder.err" </dev/null &
  servers+=($!)
  server=$!
}
# work CONFIG ADDRESS ARGUMENTS...: a worker in the background; `worker` is its process.
work() {
  local config=$1 address=$2
  shift 2
  timeout 240 "$DLDIST" train "$config" --set sync.mode=ps --set "sync.connect='$address'" -j 1 "$@" >>"work.out" 2>>"work.err" </dev/null &
  workers+=($!)
  worker=$!
}
# kill_hard PROCESS: what `timeout` runs, without a word.
kill_hard() {
  pkill -9 -P "$1" || true
  wait "$1" 2>/dev/null || true
}
# await STEP RUN: until the run has passed the step (or half a minute is over).
await() {
  for _ in $(seq 1500); do
    [ "$(last_step "$2")" -lt "$1" ] || return 0
    sleep 0.02
  done
}
digest() { end_of "$1" weights_sha256; }

run j2 train digits.yaml --run whole --quiet
run j2 train adam.yaml --run whole-adam --quiet
history whole >whole.history
check 'there is a digest' 64 "$(digest whole | tr -d '\n' | wc -c)"

say 'one job: every rank serves and computes, or some do one and some the other'
for how in j1 j2 j3 r2 r3 r4; do
  run "$how" train digits.yaml --set sync.mode=ps --run "team-$how" --quiet
  check "weights of $how" "$(digest whole)" "$(digest "team-$how")"
  history "team-$how" >other
  holds 'and every loss, norm and score' cmp whole.history other
done
run r4 train digits.yaml --set sync.mode=ps --set sync.servers=2 --run team-servers --quiet
check 'two of four ranks serve' "$(digest whole)" "$(digest team-servers)"
run j3 train adam.yaml --set sync.mode=ps --set sync.servers=1 --run team-adam --quiet
check 'one of three serves, Adam without clipping' "$(digest whole-adam)" "$(digest team-adam)"
events start team-servers >begin
check 'the run says so' ps "$(field transport begin)"

say 'a run that was begun by allreduce goes on by parameter servers, and the other way round'
run j2 train digits.yaml --run mixed --set train.epochs=1 --quiet
run r3 train digits.yaml --run mixed --set train.epochs=3 --set sync.mode=ps --quiet
run j2 train digits.yaml --run mixed --quiet
check 'the same weights' "$(digest whole)" "$(digest mixed)"

say 'outside MPI'
for servers_here in 1 2 3; do
  folder=out-$servers_here
  serve "$folder" digits.yaml --bind "ipc://$work/s$servers_here" -j "$servers_here" --set sync.bucket_mb=0.005
  for _ in $(seq $((3 - servers_here))); do work digits.yaml "ipc://$work/s$servers_here"; done
  work digits.yaml "ipc://$work/s$servers_here" --set sync.transport=mpi --set sync.overlap=false
  work digits.yaml "ipc://$work/s$servers_here" --set sync.transport=mpi
  code=0 && wait "$server" || code=$?
  check "$servers_here servers, $((5 - servers_here)) workers, some in whole slices, some in parts: exit code" 0 "$code"
  check 'weights' "$(digest whole)" "$(digest "$folder")"
  history "$folder" >other
  holds 'and every loss, norm and score' cmp whole.history other
  run alone eval --run "$folder" --json
done

say '16 bits: those of allreduce, as payload and in memory'
run j2 train adam.yaml --set sync.compress=bf16 --run whole-half --quiet
holds 'which are others than those of whole floats' test "$(digest whole-half)" != "$(digest whole-adam)"
run r2 train adam.yaml --set sync.compress=bf16 --set sync.mode=ps --run team-half --quiet
check 'in one job' "$(digest whole-half)" "$(digest team-half)"
run r2 train adam.yaml --set sync.compress=bf16 --set sync.mode=ps --set sync.transport=mpi --run team-half-sent --quiet
check 'in one job, by messages' "$(digest whole-half)" "$(digest team-half-sent)"
run j2 train adam.yaml --set sync.compress=topk --run whole-few --quiet
run r3 train adam.yaml --set sync.compress=topk --set sync.mode=ps --set sync.transport=mpi --set sync.servers=1 --run team-few --quiet
check 'in one job, the largest of each leaf' "$(digest whole-few)" "$(digest team-few)"
serve half adam.yaml --set sync.compress=bf16 --bind "ipc://$work/h" -j 2
try alone train adam.yaml --set sync.mode=ps --set "sync.connect='ipc://$work/h'" -j 1
check 'a worker that does not round is refused' 2 "$code"
work adam.yaml "ipc://$work/h" --set sync.compress=bf16
work adam.yaml "ipc://$work/h" --set sync.compress=bf16 --set sync.transport=mpi
code=0 && wait "$server" || code=$?
check 'outside MPI' "$(digest whole-half)" "$(digest half)"

say 'few elements, in asp: about as good as all of them, a tenth as long'
scores() { events eval "$1" | grep '"split":"test"' >score && field accuracy score; }
for few in none topk; do
  kind=(--set sync.consistency=asp --set "sync.compress=$few" --set sync.topk=0.1 --set sync.bucket_mb=0.01)
  serve "few-$few" adam.yaml "${kind[@]}" --bind "ipc://$work/f$few"
  work adam.yaml "ipc://$work/f$few" "${kind[@]}"
  work adam.yaml "ipc://$work/f$few" "${kind[@]}" --set sync.transport=mpi
  code=0 && wait "$server" || code=$?
  check "$few: exit code" 0 "$code"
done
holds 'the digits are read about as well' awk -v few="$(scores few-topk)" -v all="$(scores few-none)" 'BEGIN {exit !(few > 0.88 && few > all - 0.05)}'
serve fewer adam.yaml "${kind[@]}" --bind "ipc://$work/fw"
try alone train adam.yaml --set sync.mode=ps --set "sync.connect='ipc://$work/fw'" --set sync.compress=topk --set sync.topk=0.2 -j 1
check 'a worker that would send more is refused' 2 "$code"
[ "$code" = 2 ] || tail -n 5 fewer.err err
kill_hard "$server"

say 'workers are killed and join, at random'
RANDOM=20240607
slow=(--set train.epochs=16)
run j2 train digits.yaml "${slow[@]}" --run long --quiet
serve killed digits.yaml "${slow[@]}" --bind "ipc://$work/k" -j 2
work digits.yaml "ipc://$work/k" && first=$worker
work digits.yaml "ipc://$work/k" && second=$worker
await $((5 + RANDOM % 40)) killed
kill_hard "$first"
work digits.yaml "ipc://$work/k"
await $((60 + RANDOM % 60)) killed
kill_hard "$second"
code=0 && wait "$server" || code=$?
check 'the run ends' 0 "$code"
check 'with the same weights' "$(digest long)" "$(digest killed)"
check 'each step once' "1-416 each once" "$(steps_of killed)"

say 'a server is killed, and begun again; its worker waits for it'
serve again digits.yaml "${slow[@]}" --bind "ipc://$work/a"
work digits.yaml "ipc://$work/a"
for part in 1 2; do
  await $((part * 100 + RANDOM % 80)) again
  kill_hard "$server"
  serve again digits.yaml "${slow[@]}" --bind "ipc://$work/a"
done
code=0 && wait "$server" || code=$?
check 'the run ends' 0 "$code"
code=0 && wait "$worker" || code=$?
check 'and so does the worker that was there all the time' 0 "$code"
check 'with the same weights' "$(digest long)" "$(digest again)"
check 'each step once' "1-416 each once" "$(steps_of again)"

say 'a server that is told to stop writes a checkpoint, even without a worker'
serve stopped digits.yaml --set train.epochs=100000 --bind "ipc://$work/t" # none that is over before it is stopped
work digits.yaml "ipc://$work/t" && first=$worker
await 50 stopped
kill_hard "$first"
pkill -TERM -P "$server"
code=0 && wait "$server" || code=$?
check 'exit code' 75 "$code"
ends=(--set train.epochs=$(($(last_step stopped) / 26 + 2)))
run j2 train digits.yaml "${ends[@]}" --run unstopped --quiet
serve stopped digits.yaml "${ends[@]}" --bind "ipc://$work/t"
work digits.yaml "ipc://$work/t"
code=0 && wait "$server" || code=$?
check 'and goes on' "0 $(digest unstopped)" "$code $(digest stopped)"

say 'bounded staleness'
for kind in ssp asp; do
  serve "$kind" adam.yaml --set "sync.consistency=$kind" --set sync.staleness=2 --bind "ipc://$work/s-$kind"
  work adam.yaml "ipc://$work/s-$kind"
  work adam.yaml "ipc://$work/s-$kind"
  code=0 && wait "$server" || code=$?
  check "$kind: the run ends" 0 "$code"
  check 'each step once' "1-104 each once" "$(steps_of "$kind")"
  events staleness "$kind" >stale
  check 'a histogram an epoch' 4 "$(wc -l <stale)"
done
events staleness ssp | sed 's/.*"most_steps":\([0-9]*\).*/\1/' >most
holds 'ssp is never beyond its bound' test "$(sort -n most | tail -n 1)" -le 2

say 'keys'
run alone ps keygen server
run alone ps keygen good
run alone ps keygen bad
check 'a secret is its owner'"'"'s' 600 "$(stat -c %a server.key)"
try alone ps keygen server
check 'and never overwritten' 2 "$code"
cp good.pub allowed
port=$((20000 + SRANDOM % 12000))
serve locked digits.yaml --bind "tcp://*:$port" --key server.key --allow allowed
try alone train digits.yaml --set sync.mode=ps --set "sync.connect=tcp://127.0.0.1:$port" --set sync.timeout=2 -j 1
check 'no key: nobody answers' 4 "$code"
try alone train digits.yaml --set sync.mode=ps --set "sync.connect=tcp://127.0.0.1:$port" --set sync.timeout=2 -j 1 \
  --set sync.key=bad.key --set sync.server_key=server.pub
check 'a key that is not on the list' 4 "$code"
for text in 'GET / HTTP/1.0\r\n\r\n' '\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL' ''; do
  (printf '%b' "$text" >"/dev/tcp/127.0.0.1/$port"; head -c 100000 /dev/urandom >"/dev/tcp/127.0.0.1/$port") 2>/dev/null || true
done
run alone train digits.yaml --set sync.mode=ps --set "sync.connect=tcp://127.0.0.1:$port" -j 2 \
  --set sync.key=good.key --set sync.server_key=server.pub
code=0 && wait "$server" || code=$?
check 'the right key works' 0 "$code"
check 'to the same weights' "$(digest whole)" "$(digest locked)"

say 'mistakes'
try alone ps serve digits.yaml --bind "tcp://*:$port" --run mistake
check 'no keys where others can come: exit code' 2 "$code"
contains 'and says what to do' 'dldist ps keygen' err
try alone train digits.yaml --set 'sync.connect=tcp://127.0.0.1:1' --run mistake
check 'connect without ps' 2 "$code"
contains 'says what is missing' 'set sync.mode: ps' err
try alone train digits.yaml --set sync.mode=ps --set sync.consistency=asp --run mistake
check 'asp in one job' 2 "$code"
try j2 train digits.yaml --set sync.mode=ps --set sync.servers=2 --run mistake
check 'nobody left to compute' 2 "$code"
try alone ps serve digits.yaml --bind somewhere --run mistake
check 'no address' 2 "$code"
echo precious >there
for name in there "$work/there" whole; do
  try alone ps serve digits.yaml --bind "ipc://$name" --run mistake
  check "a socket in the place of $name" 2 "$code"
done
contains 'is said' 'there is a folder of that name' err
check 'and what was there stays' precious "$(cat there)"
for name in both both/ ./both "$work/both" both/run; do
  try alone ps serve digits.yaml --bind "ipc://$work/both" --run "$name"
  check "one name for socket and $name" 2 "$code"
  contains 'is said, too' 'would be a socket and a folder of this run' err
done
check 'and leaves neither' 1 "$(test -e both || echo 1)"
try alone ps serve digits.yaml --set sync.consistency=asp --bind "ipc://$work/m" --run mistake
check 'LAMB needs whole tensors' 2 "$code"
try alone ps serve digits.yaml --set sync.compress=topk --bind "ipc://$work/m" --run mistake
check 'with bsp the bits would depend on what topk leaves with workers' 2 "$code"
contains 'says why' 'would depend on who computes' err
contains 'says what to take' 'set sync.consistency: ssp or asp, or take bf16 or fp16' err
try alone ps sevre
check 'an unknown action' 2 "$code"
contains 'the nearest' "did you mean 'serve'" err
serve unlike digits.yaml --bind "ipc://$work/o"
try alone train adam.yaml --set sync.mode=ps --set "sync.connect='ipc://$work/o'" -j 1
check 'a worker with another configuration is refused' 2 "$code"
contains 'and told why' 'trains something else' err

finish
