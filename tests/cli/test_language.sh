#!/usr/bin/env bash
# Language models: a text imported, an LSTM and a small GPT trained to the same bits at any number of members, judged, and made
# to write; wrong input told.
# Usage: tests/cli/test_language.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

text=$DLDIST_SOURCE/LICENSE
run alone data import text "$text" -o text.h5 --test-fraction 0.1
run alone data info text.h5
bytes=$(wc -c <"$text") characters=$(fold -w1 "$text" | LC_ALL=C sort -u | grep -c .)
vocabulary=$((characters + 1)) # and the end of a line
contains 'nine tenths of the tokens are train' "($((bytes - bytes / 10)),)" out
contains 'the tail is test' "($((bytes / 10)),)" out
contains 'the vocabulary is the characters of the text' "($vocabulary,)" out
try alone data import text "$text" -o text.h5
check 'a file that is there is not replaced' 2 "$code"
printf 'caf\xe9\n' >latin1.txt
try alone data import text latin1.txt -o latin1.h5
check 'text that is no UTF-8 is refused' 3 "$code"
contains 'with the byte and the way out' 'no UTF-8 at byte 3 (import its bytes instead: --tokens byte)' err
run alone data import text latin1.txt -o latin1.h5 --tokens byte
run alone data info latin1.h5
contains 'bytes are always 256' '(256,)' out
try alone data import text "$text" -o other.h5 --tokens words
check 'an unknown kind of token is wrong usage' 2 "$code"
contains 'and told' "tokens must be one of char|byte, not 'words'" err

cat >lstm.yaml <<YAML
name: lstm
task: language_model
data: {file: text.h5, sequence: 19, valid: 0.1}
model:
  - embedding: {vocabulary: $vocabulary, size: 16}
  - lstm: {units: 24, layers: 2, return_sequences: true}
  - dropout: 0.1
  - dense: $vocabulary
optimizer: {name: adam, lr: 0.01}
train: {epochs: 2, batch: 45, clip_norm: 1.0}
sync: {shards: 8}
YAML
cat >gpt.yaml <<YAML
name: gpt
task: language_model
data: {file: text.h5, sequence: 70}
model:
  - embedding: {vocabulary: $vocabulary, size: 16}
  - positional_embedding
  - residual: [layernorm, {attention: {heads: 2, causal: true}}, {dropout: 0.1}]
  - residual: [layernorm, {dense: 32}, gelu, {dense: 16}]
  - layernorm
  - dense: $vocabulary
optimizer: {name: adam, lr: 0.01}
train: {epochs: 3, batch: 13}
sync: {shards: 6}
YAML
for model in lstm gpt; do
  run j1 train $model.yaml --run $model-j1 --quiet
  for how in j3 j8 r2 r3 r3-mpi r5-mpi r2j2; do
    run "$how" train $model.yaml --run $model-"$how" --quiet
    check "$model: the weights of $how are those of one" "$(end_of $model-j1 weights_sha256)" \
      "$(end_of $model-"$how" weights_sha256)"
    history $model-j1 >one
    history $model-"$how" >other
    holds "$model: and so is every loss, norm and score" cmp one other
  done
  DLDIST_NODES=2,1 run r3 train $model.yaml --run $model-nodes --quiet --set sync.bucket_mb=0.004
  check "$model: tensors that travel between nodes one by one" "$(end_of $model-j1 weights_sha256)" \
    "$(end_of $model-nodes weights_sha256)"
  check "$model: there is a digest" 64 "$(end_of $model-j1 weights_sha256 | tr -d '\n' | wc -c)"
  events end $model-j1 >last
  holds "$model: tokens a second stand beside samples a second" grep -q '"tokens_per_s"' last
done

events eval lstm-j1 >evals
check 'windows of 20 tokens, one every 19; a tenth of them is valid' "$((((bytes - bytes / 10 - 1) / 19) / 10))" \
  "$(grep '"valid"' evals | head -n 1 | sed 's/.*"samples":\([0-9]*\).*/\1/')"
loss=$(field loss evals) perplexity=$(field perplexity evals) bits=$(field bits_per_token evals)
holds 'perplexity is e^loss, and bits are log2 of it' awk -v l="$loss" -v p="$perplexity" -v b="$bits" \
  'BEGIN { exit !((p / exp(l) - 1)^2 < 1e-10 && (b * log(2) / l - 1)^2 < 1e-10) }'
holds 'the model has learnt something: a character costs less than among equals' awk -v b="$bits" -v v="$vocabulary" \
  'BEGIN { exit !(b < log(v) / log(2) - 1) }'
run alone eval --run lstm-j1 --json
check 'eval finds what the run found' "$perplexity" "$(field perplexity out)"
run r3 eval --run lstm-j1 --json
check 'so do three ranks' "$perplexity" "$(field perplexity out)"
run j2 predict --run lstm-j1 --data text.h5 -o scores.h5
contains 'a row of scores for each token' "$((((bytes / 10 - 1) / 19) * 19))" <("$DLDIST" data info scores.h5)

run alone predict --run lstm-j1 --generate 100 --prompt 'The License' --seed 3
cp out first
check 'the prompt, a hundred characters, the end of the line' 112 "$(wc -c <first)"
holds 'it begins with the prompt' grep -q '^The License' first
run r2 predict --run lstm-j1 --generate 100 --prompt 'The License' --seed 3
holds 'the same seed writes the same text, whoever does it' cmp first out
run alone predict --run lstm-j1 --generate 100 --prompt 'The License' --seed 4
holds 'another seed writes another' test "$(cat first)" != "$(cat out)"
run alone predict --checkpoint lstm-j1/checkpoints/latest --generate 30 --temperature 0
cp out first
run alone predict --run lstm-j1 --generate 30 --temperature 0 --seed 9
holds 'at temperature 0 nothing is drawn' cmp first out

try alone predict --run lstm-j1 --generate 3 --prompt 'a§'
check 'a prompt beyond the vocabulary is wrong usage' 2 "$code"
contains 'and told' "the prompt has '§' at byte 1, which is not in the model's vocabulary" err
try alone predict --run lstm-j1 --prompt x -o x.h5 --data text.h5
check 'a prompt without --generate is wrong usage' 2 "$code"
try alone predict --run lstm-j1 --generate 3 -o x.h5 --data text.h5
check 'a file of predictions with --generate is wrong usage' 2 "$code"
run alone train --set data.file="$DIGITS" --set 'model=[flatten, {dense: 10}]' --set train.epochs=1 --run digits --quiet
try alone predict --run digits --generate 3
check 'a classifier writes no text' 2 "$code"
contains 'and says so' "only a language model makes text: this model's task is classification" err

run j2 train lstm.yaml --set model.1.lstm.bidirectional=true --set train.epochs=1 --run ahead
contains 'a model that sees what it is asked for is warned of' 'layers.1 (lstm) sees the tokens that the model is asked for' err
try alone predict --run ahead --generate 3
check 'and writes no text' 2 "$code"
contains 'and says why' 'layers.1 (lstm) looks at later tokens' err

try j2 train lstm.yaml --set 'model.0.embedding.vocabulary=9' --run none
check 'more tokens than the embedding has is bad data' 3 "$code"
contains 'with both numbers' "the data set has $vocabulary tokens, but the embedding's vocabulary is of 9 (set vocabulary: $vocabulary)" err
try alone train lstm.yaml --set model.3.dense=9 --run none
check 'more tokens than the model has outputs is a wrong configuration' 2 "$code"
contains 'with the layer' 'the model ends in 9 outputs but the data set has '"$vocabulary"' tokens' err
try alone train lstm.yaml --set data.sequence=1000000 --run none
check 'a text shorter than a window is bad data' 3 "$code"
try alone train lstm.yaml --set data.normalize=unit --run none
check 'tokens are not normalised' 2 "$code"
try alone train lstm.yaml --set data.file="$DIGITS" --run none
check 'a data set without tokens is bad data' 3 "$code"
contains 'and names what is missing' "train/tokens" err

tr -cd 'a-z \n' <"$text" >letters.txt
run alone data import text letters.txt -o letters.h5
for example in kjv-lstm kjv-gpt; do
  run r2 train "$DLDIST_SOURCE/examples/$example.yaml" --dry-run --set data.file="$PWD/letters.h5"
  contains "$example.yaml is sound" 'configuration in force:' out
done

finish
