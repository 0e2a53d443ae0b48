#!/usr/bin/env bash
# What goes wrong ends on every rank, soon, with one message that says what, where and what to do, and the right exit code;
# alone and under mpirun alike.
# Usage: tests/cli/test_errors.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# settle: the verdict on what `try` or `within` just ran. SENTENCE EXIT-CODE MESSAGE
settle() {
  check "$1: exit code" "$2" "$code"
  contains "$1: the message" "$3" err
  check "$1: one message" 1 "$(grep -c '^dldist: ' err || true)"
  holds "$1: no wait for what does not come" test "$took" -lt 100
  check "$1: nothing else is said" '' "$(grep -v '^dldist: ' err || true)"
}

# fails SENTENCE EXIT-CODE MESSAGE ARGUMENTS...: so it must end, alone, in threads and on 3 ranks.
fails() {
  local sentence=$1 exit_code=$2 message=$3 how started took
  shift 3
  for how in j1 j3 r3; do
    started=$SECONDS
    try "$how" train "$@" --run "bad-$how" --quiet
    took=$((SECONDS - started))
    settle "$sentence ($how)" "$exit_code" "$message"
    rm -rf "bad-$how"
  done
}

"$DLDIST_H5" make good good.h5
cat >c.yaml <<'YAML'
name: errors
seed: 1
data: {file: good.h5}
model: [{dense: 16}, relu, {dense: 3}]
train: {epochs: 2, batch: 32}
sync: {shards: 4}
YAML
# with LINE...: c.yaml with these lines added, and those of the same key replaced, as bad.yaml.
with() {
  local line
  cp c.yaml bad.yaml
  for line in "$@"; do
    sed -i "/^${line%%:*}:/d" bad.yaml
    printf '%s\n' "$line" >>bad.yaml
  done
}

say '== the configuration'
run r3 train c.yaml --run good --quiet
with 'optimizer: {name: adam, learnig_rate: 0.001}'
fails 'a typo in a key' 2 "dldist: error: bad.yaml:7:25: unknown key 'learnig_rate' in optimizer (did you mean 'lr'?)" bad.yaml
with 'trian: {epochs: 3}'
fails 'a typo in a section' 2 "dldist: error: bad.yaml:7:1: unknown key 'trian' (did you mean 'train'?)" bad.yaml
cp c.yaml bad.yaml && printf 'seed: 2\n' >>bad.yaml
fails 'a duplicate key' 2 'dldist: error: bad.yaml:7:1: ' bad.yaml
with 'model: [{dense: 1000000}, {dense: 1000000}, {dense: 3}]'
fails 'a network larger than the machine' 1 'dldist: error: out of memory: 10000' bad.yaml
with 'model: [{dense: {units: 3, trainable: false}}]'
fails 'a network of frozen layers' 2 'no layer of the model is trained (leave' bad.yaml
with 'train: {epochs: 0, batch: 32}'
fails 'a value out of range' 2 'dldist: error: bad.yaml:6:17: ' bad.yaml
with 'train: {epochs: many, batch: 32}'
fails 'a wrong type' 2 'dldist: error: bad.yaml:6:17: ' bad.yaml
with 'task: clasification'
fails 'a choice that there is not' 2 "bad.yaml:7:7: task must be one of classification|" bad.yaml
printf 'model: [relu\n' >bad.yaml
fails 'what is no YAML' 2 'dldist: error: bad.yaml:' bad.yaml
fails 'a --set of an unknown key' 2 "unknown key 'epoch' in train (did you mean 'epochs'?)" c.yaml --set train.epoch=3
fails 'no such configuration' 2 'dldist: error: absent.yaml: ' absent.yaml
fails 'a folder for a configuration' 2 'dldist: error: /: is a directory where a configuration is wanted' /
fails 'a data set for a configuration' 2 'dldist: error: good.h5: is a data set (HDF5) where' good.h5

say '== the data'
with 'data: {file: absent.h5}'
fails 'a missing file' 3 'absent.h5: ' bad.yaml
mkdir folder.h5
with 'data: {file: folder.h5}'
fails 'a folder where HDF5 is wanted' 3 'folder.h5: ' bad.yaml
cp c.yaml text.h5
with 'data: {file: text.h5}'
fails 'a text file where HDF5 is wanted' 3 'text.h5: ' bad.yaml
head -c 3000 good.h5 >short.h5
with 'data: {file: short.h5}'
fails 'a truncated file' 3 'short.h5: ' bad.yaml
: >empty.h5
with 'data: {file: empty.h5}'
fails 'an empty file' 3 'empty.h5: ' bad.yaml
"$DLDIST_H5" make label label.h5
with 'data: {file: label.h5}' 'model: [{dense: 10}]'
fails 'a label of 10 in 10 classes' 3 'label.h5: ' bad.yaml
contains 'the label is named' '10' err
"$DLDIST_H5" make nan nan.h5
with 'data: {file: nan.h5}'
fails 'NaN in x' 3 'nan.h5: ' bad.yaml
contains 'the sample is named' '417' err
"$DLDIST_H5" make no_y no_y.h5
with 'data: {file: no_y.h5}'
fails 'a missing name' 3 'train/y' bad.yaml
"$DLDIST_H5" make short_y short_y.h5
with 'data: {file: short_y.h5}'
fails 'fewer labels than samples' 3 'short_y.h5: ' bad.yaml

say '== the model'
with 'model: [{conv2d: 3}]'
fails 'a layer that there is not' 2 'dldist: error: bad.yaml:6:' bad.yaml
with 'model: [{dense: 16}, relu, {dense: 2}]'
fails 'fewer outputs than classes' 3 'label' bad.yaml
"$DLDIST_H5" make one_hot one_hot.h5
with 'data: {file: one_hot.h5}'
fails 'fewer outputs than one-hot columns' 3 'one-hot rows of 5 columns, but the model has 3 outputs' bad.yaml
with 'model: [{reshape: [2, 2]}, {dense: 3}]'
fails 'logits of several places' 2 'bad.yaml:6:29: layers.1 (dense): a classification ends in one row of logits' bad.yaml
with 'model: [{dense: 3}, softmax]'
fails 'softmax before cross_entropy' 2 'dldist: error: bad.yaml:6:' bad.yaml
with 'model: [{dense: {units: 16, name: a}}, {dense: 16}, {dense: {units: 8, from: b}}, {dense: 3}]'
fails 'a branch from a layer that there is not' 2 'dldist: error: bad.yaml:6:' bad.yaml
with "data: {file: \"$DIGITS\"}" 'model: [{dense: 16}, relu, {dense: 10}]'
fails 'dense on images that nothing flattened' 2 'dldist: error: bad.yaml:6:' bad.yaml
with 'task: regression'
fails 'outputs that are not those of the values' 2 'dldist: error: bad.yaml' bad.yaml

say '== training'
"$DLDIST_H5" make line line.h5
with 'task: regression' 'data: {file: line.h5}' 'model: [{dense: 16}, {dense: 1}]' 'optimizer: {name: sgd, lr: 1e6}'
fails 'a loss that is no number' 4 'dldist: error: training failed at step ' bad.yaml
contains 'with advice' '(lower optimizer.lr, set train.clip_norm' err
try r3 train bad.yaml --run nan --quiet
check 'its metrics.jsonl says that it failed' failed "$(end_of nan status)"
check 'and has no digest of its weights' null "$(end_of nan weights_sha256)"
check 'and no checkpoint has such weights' '' "$(ls nan/checkpoints)"

say '== pretended nodes'
for nodes in 0 2,x '2;1' 3abc 4 "$(printf '1%.0s' {1..300})"; do
  DLDIST_NODES=$nodes try r3 train c.yaml --run nodes --quiet
  took=0 settle "$nodes" 2 "dldist: error: DLDIST_NODES: '${nodes:0:60}' is no list of numbers of ranks"
done

say '== the disk'
: >file
try r3 train c.yaml --run file/run --quiet
took=0 settle 'a file where the run folder shall be' 1 'dldist: error: file/run'

# within MOUNT-COMMAND HOW ARGUMENTS...: in a mount namespace of its own where the mount was done.
within() {
  local mount=$1 command started=$SECONDS
  shift
  start "$@"
  code=0
  unshare -m bash -c "$mount"' && exec "$@"' within "${command[@]}" >out 2>err </dev/null || code=$?
  took=$((SECONDS - started))
}
if [ "$(id -u)" != 0 ] || ! unshare -m mount -t tmpfs tmpfs /mnt 2>/dev/null; then
  say 'skipped: full disks and small /dev/shm need root and mount namespaces'
  finish
fi
mkdir small
for how in j3 r3; do
  for size in 16k 32k 48k; do # too small for: the first lines, the steps, the checkpoint's files
    within "mount -t tmpfs -o size=$size tmpfs small" "$how" train c.yaml --run small/run --quiet \
      --set 'model=[{dense: 1000}, relu, {dense: 3}]'
    settle "a disk of $size for the run folder ($how)" 1 'dldist: error: small/run'
    contains 'it says that there is no space' 'No space left on device' err
  done
done
seq 5000 >text
for how in alone r3; do
  within 'mount -t tmpfs -o size=4k tmpfs small' "$how" predict --run good --data good.h5 --split train -o small/p.h5
  settle "a disk too small for predictions ($how)" 1 'dldist: error: small/p.h5: data set '
  within 'mount -t tmpfs -o size=4k tmpfs small' "$how" data import text text -o small/t.h5
  settle "a disk too small for an import ($how)" 1 'dldist: error: small/t.h5: data set '
done

say '== /dev/shm'
wide=(--set 'model=[{dense: 3000}, relu, {dense: 700}, {dense: 3}]' --set train.epochs=1 --quiet)
run r3 train c.yaml --run roomy "${wide[@]}"
shm='mount -t tmpfs -o size=16m tmpfs /dev/shm'
within "$shm" r3 train c.yaml --run narrow "${wide[@]:0:4}"
check 'too small for the shared memory, it trains on by messages' 0 "$code"
check 'with one warning' 1 "$(grep -c '^warning: ' err || true)"
check 'and the same bits' "$(end_of roomy weights_sha256)" "$(end_of narrow weights_sha256)"
events start narrow >begin
check 'metrics.jsonl says how' mpi "$(field transport begin)"
within "$shm" j3 train c.yaml --run threads "${wide[@]}"
check 'threads need none' "$(end_of roomy weights_sha256)" "$(end_of threads weights_sha256)"
check 'and have nothing to say' '' "$(cat err)"
within "$shm" r3 train c.yaml --run asked "${wide[@]}" --set sync.transport=shm
settle 'too small, and shared memory was asked for' 1 '/dev/shm'

say '== one rank'
mkdir data empty
mv good.h5 data/good.h5
sed -i 's/good.h5/data\/good.h5/' c.yaml
# one_cannot RANK: 3 ranks, of which this one does not see the file.
one_cannot() {
  local rank command=(timeout 60 mpirun) started=$SECONDS train=("$DLDIST" train c.yaml --run "one-$1" --quiet)
  for rank in 0 1 2; do
    command+=(-np 1)
    [ "$rank" != "$1" ] || command+=(unshare -m bash -c 'mount --bind empty data && exec "$@"' hidden)
    command+=("${train[@]}" :)
  done
  unset 'command[-1]'
  code=0
  "${command[@]}" >out 2>err </dev/null || code=$?
  took=$((SECONDS - started))
}
for rank in 0 1 2; do
  one_cannot "$rank"
  settle "rank $rank cannot read the file" 3 'good.h5: the data file does not exist'
done
contains 'and it is named' '[rank 2]' err

finish
