#!/usr/bin/env bash
# Training that begins with given weights: those that fit by name and shape, from a run, a checkpoint or a file; the same bits by
# whomever; what does not fit is told.
# Usage: tests/cli/test_weights.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cat >base.yaml <<YAML
name: base
seed: 4
data: {file: "$DIGITS", valid: 0.1}
model: [flatten, {dense: {units: 24, name: body}}, {batchnorm: {name: norm}}, relu, {dense: {units: 10, name: head}}]
optimizer: {name: adam, lr: 0.01}
train: {epochs: 3, batch: 45}
checkpoint: {best: true}
sync: {shards: 4}
YAML
# So small a rate that no weight moves (running averages do).
still=(--set optimizer.lr=1e-40 --set train.epochs=1 --quiet)

# tensor FILE NAME: the bytes of a tensor, as hexadecimal numbers.
tensor() {
  local length header range
  length=$(od -An -tu8 -N8 "$1" | tr -d ' ')
  header=$(head -c $((8 + length)) "$1" | tail -c "$length")
  range=$(printf '%s\n' "$header" | sed 's/.*"'"$2"'":{[^}]*"data_offsets":\[\([0-9]*\),\([0-9]*\)\].*/\1 \2/')
  tail -c +$((9 + length + ${range% *})) "$1" | head -c $((${range#* } - ${range% *})) | od -An -tx4 -v
}
weights_of() { echo "$1/checkpoints/latest/model.safetensors"; }
# begins SENTENCE RUN: body and head of RUN are those of base.
begins() {
  for name in body.weight body.bias head.weight head.bias norm.weight; do
    holds "$1: $name" cmp <(tensor base/checkpoints/best/model.safetensors "$name") <(tensor "$(weights_of "$2")" "$name")
  done
}

run j2 train base.yaml --run base --quiet
holds 'there are bytes to compare' test "$(tensor "$(weights_of base)" body.weight | wc -w)" = $((24 * 64))

say '== where they come from'
run j1 train base.yaml --run by-run "${still[@]}" --set train.weights=base
begins 'a run stands for its best checkpoint' by-run
run j1 train base.yaml --run by-checkpoint "${still[@]}" --set train.weights=base/checkpoints/best
begins 'a checkpoint' by-checkpoint
run j1 train base.yaml --run by-file "${still[@]}" --set train.weights=base/checkpoints/best/model.safetensors
begins 'a file' by-file
run j1 train base.yaml --run by-seed "${still[@]}" --set seed=4
holds 'without them the seed decides' test "$(tensor "$(weights_of by-seed)" body.weight | md5sum)" != "$(tensor "$(weights_of base)" body.weight | md5sum)"
contains 'the start says how many were given' '"given_tensors":8' by-run/metrics.jsonl
mkdir conf && sed 's/^train: {/train: {weights: ..\/base, /' base.yaml >conf/c.yaml
run j2 train conf/c.yaml --run conf/run "${still[@]}"
begins 'a path is relative to the configuration' conf/run
contains 'config.yaml has it whole' "$work/base" conf/run/config.yaml

say '== another head'
tune=(--set 'model=[flatten, {dense: {units: 24, name: body, trainable: false}}, {batchnorm: {name: norm}}, relu, {dense: {units: 12, name: head}}, {dense: {units: 10, name: new}}]'
  --set train.weights=base --set train.epochs=2)
run j1 train base.yaml --run tuned "${tune[@]}"
contains 'what fits is told, and what does not' '6 of 10 tensors begin as in' err
contains 'with the names of the others' 'the others by the seed: head.weight, head.bias, new.weight, new.bias' err
contains 'so is what has another shape' 'are not of the model'"'"'s shape and type, and begin by the seed: head.weight there is F32 (10, 24)' err
run j1 train base.yaml --dry-run "${tune[@]}"
contains 'a dry run says it too' '6 of 10 tensors begin as in' out
run j1 train base.yaml --run none --quiet --set train.epochs=1 --set 'train.weights=""'
holds 'an empty path is none' test -z "$(grep given_tensors none/metrics.jsonl || true)"
holds 'a layer that is not trained stays as it was given' cmp <(tensor base/checkpoints/best/model.safetensors body.weight) <(tensor "$(weights_of tuned)" body.weight)
for how in j3 r2 r3 r2-mpi; do
  run "$how" train base.yaml --run "by-$how" "${tune[@]}" --quiet
  check "$how: the same weights" "$(end_of tuned weights_sha256)" "$(end_of "by-$how" weights_sha256)"
done
run j2 train base.yaml --run ps "${tune[@]}" --quiet --set sync.mode=ps
check 'by parameter servers: the same weights' "$(end_of tuned weights_sha256)" "$(end_of ps weights_sha256)"
run j2 train base.yaml --run parts "${tune[@]}" --quiet --set train.epochs=1
mv base away
run r3 train base.yaml --run parts "${tune[@]}" --quiet
check 'a resume does not want them any more' "$(end_of tuned weights_sha256)" "$(end_of parts weights_sha256)"

say '== what is wrong'
try r2 train base.yaml --run bad --set train.weights=base
check 'what is not there' "3: dldist: error: $work/base: does not exist (train.weights) (name a run's folder, a checkpoint's, or a .safetensors file)" \
  "$code: $(cat err)"
mkdir empty
try j2 train base.yaml --run bad --set train.weights=empty
check 'a folder without a checkpoint' 3 "$code"
try j2 train base.yaml --run bad --set train.weights=base.yaml
check 'a file of another kind' 3 "$code"
contains 'is named' 'base.yaml' err
try r2 train base.yaml --run bad --set train.weights=away --set 'model=[flatten, {dense: 10}]'
check 'nothing that fits' 3 "$code"
contains 'is told with names of both' 'the model has layers.1.weight, ...; the file body.weight, ...' err
head -c 3000 away/checkpoints/best/model.safetensors >cut.safetensors
try j2 train base.yaml --run bad --set train.weights=cut.safetensors
check 'a file that was cut' 3 "$code"
holds 'and no folder was made of any of these' test ! -e bad

finish
