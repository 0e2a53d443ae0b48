#!/usr/bin/env bash
# What the commands say and write: exact text where it is stable, equal files and scores at any number of ranks.
# Usage: tests/cli/test_commands.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# usage SENTENCE MESSAGE ARGUMENTS...: wrong usage, alone and under mpirun, with exactly this text.
usage() {
  local sentence=$1 message=$2 how
  shift 2
  for how in alone r2; do
    try "$how" "$@"
    check "$sentence ($how)" "2: dldist: error: $message" "$code: $(cat err)"
    check 'and nothing on standard output' '' "$(cat out)"
  done
}

# prints SENTENCE TEXT ARGUMENTS...: exactly this on standard output, once under mpirun too.
prints() {
  local sentence=$1 text=$2 how
  shift 2
  for how in alone r3; do
    run "$how" "$@"
    check "$sentence ($how)" "$text" "$(cat out)"
  done
}

say '== the demo: no configuration, an empty folder'
mkdir empty
for how in alone r8; do
  cd empty
  start "$how" train
  code=0
  "${command[@]}" >../out 2>../err </dev/null || code=$?
  cd ..
  check "bare dldist train ($how)" 0 "$code"
  accuracy=$(sed -n 's/^  accuracy *//p' out)
  holds "and right in more than 95 of 100 ($accuracy)" awk "BEGIN { exit !($accuracy >= 0.95) }"
  contains 'it says where the run is' 'the run is in runs/digits-demo-' err
done
check 'two runs have two folders' 2 "$(find empty/runs -mindepth 1 -maxdepth 1 | wc -l)"
runs=(empty/runs/*)
check 'and the same weights' "$(end_of "${runs[0]}" weights_sha256)" "$(end_of "${runs[1]}" weights_sha256)"
cp "${runs[0]}/config.yaml" empty/dldist.yaml
cd empty && "$DLDIST" train --run from-file --quiet >/dev/null && cd ..
check 'dldist.yaml in the working directory is taken' "$(end_of "${runs[0]}" weights_sha256)" \
  "$(end_of empty/from-file weights_sha256)"
mv "${runs[0]}" demo

say '== metrics.jsonl'
check 'starts with a start' 1 "$(head -n 1 demo/metrics.jsonl | grep -c '"event":"start"')"
check 'ends with an end' completed "$(tail -n 1 demo/metrics.jsonl >last && field status last)"
check 'has every step' '1-460 each once' "$(steps_of demo)"
for part in '"lr":' '"loss":' '"grad_norm":' '"samples_per_s":' '"read":{"min":' '"forward":{' '"backward":{' '"sync":{' '"update":{'; do
  check "each with $part" 460 "$(events step demo | grep -cF "$part")"
done
check 'two checkpoints are kept' 2 "$(find demo/checkpoints -name 'step-*' | wc -l)"
check 'latest is the last' step-00000460 "$(readlink demo/checkpoints/latest)"
check 'a checkpoint is four files' 'MANIFEST.json model.safetensors optimizer.safetensors state.json' \
  "$(cd demo/checkpoints/latest && echo *)"
check 'none of them tells the number of ranks' '' "$(grep -il '"ranks"\|"threads"' demo/checkpoints/latest/*.json || true)"
check 'the manifest holds what sha256sum finds' "$(cd demo/checkpoints/latest && sha256sum model.safetensors | cut -d' ' -f1)" \
  "$(grep -A 3 '"model.safetensors"' demo/checkpoints/latest/MANIFEST.json | tr -d ' \n' | sed 's/.*"sha256":"\([0-9a-f]*\)".*/\1/')"

say '== eval'
run j2 eval --run demo
cp out table
contains 'a table' 'test (359 samples)' table
contains 'with confusion counts' 'confusion counts (row: truth, column: predicted)' table
run r3 eval --run demo
check 'the same on 3 ranks' "$(cat table)" "$(cat out)"
run r5 eval --checkpoint demo/checkpoints/latest
check 'and from the checkpoint itself' "$(cat table)" "$(cat out)"
run j2 eval --checkpoint demo
check 'for which its run may stand' "$(cat table)" "$(cat out)"
events eval demo | tail -n 1 | sed 's/.*"split"/{"split"/' >expected
for how in j1 j3 r1 r3; do
  run "$how" eval --run demo --json
  check "--json is what the run itself measured, to the last digit ($how)" "$(cat expected)" "$(sed 's/,"class_names":.*/}/' out)"
done
contains 'and the classes by name' '"class_names":["0","1","2","3","4","5","6","7","8","9"]' out
counts=$(sed 's/.*"confusion":\[\(.*\)\],"per_class".*/\1/' out | tr -d '[]' | tr ',' '\n')
check 'the counts are all samples' 359 "$(awk '{ n += $1 } END { print n }' <<<"$counts")"
check 'the diagonal is the accuracy' "$(field accuracy out | cut -c 1-12)" \
  "$(awk '(NR - 1) % 11 == 0 { n += $1 } END { printf "%.10f", n / 359 }' <<<"$counts")"
run r2 eval --run demo --split train --data "$DIGITS"
contains 'another split' 'train (1,438 samples)' out
usage 'neither run nor checkpoint' 'dldist eval takes one of --run DIR and --checkpoint DIR (see dldist help eval)' eval
usage 'a split that there is not' "dldist eval: --split is one of train|valid|test, not 'foo'" eval --run demo --split foo
for how in alone r3; do
  try "$how" eval --run demo --split valid
  check "a split that the data has not is bad data ($how)" 3 "$code"
  contains 'and says what there is' 'test/x' err
  try "$how" eval --run absent
  check "a run that there is not ($how)" '3: dldist: error: absent: is no run'"'"'s folder' "$code: $(cat err)"
done

say '== predict'
for how in j1 j4 r1 r2 r5; do
  run "$how" predict --run demo --data "$DIGITS" -o "p-$how.h5"
  holds "the file of $how is that of j1" cmp p-j1.h5 "p-$how.h5"
done
check 'it holds scores, labels and truth' 'labels int64 (359,)|scores float32 (359, 10)|y int64 (359,)|' \
  "$("$DLDIST" data info p-j1.h5 | awk '{ sub(/ +contiguous.*/, ""); $1 = $1; printf "%s|", $0 }')"
"$DLDIST_H5" print p-j1.h5 scores >scores.txt
"$DLDIST_H5" print p-j1.h5 labels >labels.txt
"$DLDIST_H5" print p-j1.h5 y >truth.txt
check 'scores are probabilities' 0 "$(awk '{ s = 0; for (i = 1; i <= NF; i++) { s += $i; bad += $i < 0 } bad += s < 0.99999 || s > 1.00001 } END { print bad }' scores.txt)"
check 'labels are the largest of them' '' \
  "$(awk '{ b = 1; for (i = 2; i <= NF; i++) if ($i > $b) b = i; print b - 1 }' scores.txt | diff - labels.txt || true)"
"$DLDIST_H5" print "$DIGITS" test/y >in_file
check 'the truth is in file order' '' "$(diff truth.txt in_file || true)"
check 'and as often right as eval says' "$(field accuracy expected | cut -c 1-12)" \
  "$(paste labels.txt truth.txt | awk '$1 == $2 { n++ } END { printf "%.10f", n / NR }')"
"$DLDIST_H5" make line line.h5
cat >line.yaml <<'YAML'
task: regression
data: {file: line.h5}
model: [{dense: 1}]
optimizer: {name: sgd, lr: 0.2}
train: {epochs: 60, batch: 30}
YAML
run r2 train line.yaml --run line --quiet
run alone predict --run line --data line.h5 -o line-p.h5
"$DLDIST_H5" print line-p.h5 scores >scores.txt
"$DLDIST_H5" print line.h5 test/x >x.txt
check 'a line is learnt: y = 2 x0 - x1 + 0.5' 0 \
  "$(paste x.txt scores.txt | awk '{ e = $5 - (2 * $1 - $2 + 0.5); bad += e > 0.01 || e < -0.01 } END { print bad + 0 }')"
check 'of values there are no labels' 'scores y ' "$("$DLDIST" data info line-p.h5 | awk '{ printf "%s ", $1 }')"
run r3 eval --run line --json
holds 'and r2 says so' awk "BEGIN { exit !($(field r2 out) > 0.999) }"
"$DLDIST_H5" make no_y no_y.h5
run j2 predict --run line --data no_y.h5 --split train -o no_y-p.h5
check 'predictions need no y' 'scores ' "$("$DLDIST" data info no_y-p.h5 | awk '{ printf "%s ", $1 }')"
usage 'no output' 'dldist predict needs -o PREDICTIONS.h5' predict --run demo --data "$DIGITS"
"$DLDIST_H5" make good good.h5
try r3 predict --run demo --data good.h5 -o wrong.h5
check 'data of another shape is bad data' 3 "$code"
check 'with one message' 1 "$(grep -c '^dldist: ' err)"
contains 'and both shapes' "the data set's samples have the shape (4), but the model was trained on (1, 8, 8)" err
holds 'and no file' test ! -e wrong.h5
cp line.h5 before
usage 'predictions in place of the data' \
  './line.h5: is a file of the data set: the predictions would replace it (name another file)' \
  predict --run line --data line.h5 -o ./line.h5
holds 'are refused' cmp before line.h5

say '== data'
prints 'info' "class_names   string   (10,)          contiguous                        10 B
test/x        uint8    (359, 8, 8)    chunks (359, 8, 8)  fletcher32    23.0 kB
test/y        uint8    (359,)         chunks (359,)  fletcher32         363 B
train/x       uint8    (1438, 8, 8)   chunks (1438, 8, 8)  fletcher32   92.0 kB
train/y       uint8    (1438,)        chunks (1438,)  fletcher32        1.4 kB" data info "$DIGITS"
# Five images of 2x2 and their labels, in IDX.
printf '\0\0\10\3\0\0\0\5\0\0\0\2\0\0\0\2\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22\23\24' >images-idx3-ubyte
printf '\0\0\10\1\0\0\0\5\2\0\1\2\1' >labels-idx1-ubyte
run alone data import idx images-idx3-ubyte labels-idx1-ubyte -o five.h5
check 'import keeps the pixels' '1 2 3 4|5 6 7 8|9 10 11 12|13 14 15 16|17 18 19 20|' "$("$DLDIST_H5" print five.h5 train/x | tr '\n' '|')"
check 'and the labels' '2 0 1 2 1' "$("$DLDIST_H5" print five.h5 train/y | tr '\n' ' ' | sed 's/ $//')"
cp five.h5 before
try alone data import idx images-idx3-ubyte labels-idx1-ubyte -o five.h5
holds 'import refuses to replace a file' test "$code" != 0
contains 'and says how' '--force' err
holds 'which stays' cmp before five.h5
run alone data import idx images-idx3-ubyte labels-idx1-ubyte -o five.h5 --force
head -c 30 images-idx3-ubyte >short
try alone data import idx short labels-idx1-ubyte -o short.h5
check 'a short IDX file is bad data' 3 "$code"
contains 'and named' 'dldist: error: short' err
check 'no file, whole or torn, is left' '' "$(find . -maxdepth 1 -name '*short*h5*')"
usage 'an unknown format' "unknown format 'idxx' (did you mean 'idx'?)" data import idxx a b -o c.h5
usage 'too few inputs' 'dldist data import idx takes IMAGES LABELS [TEST_IMAGES TEST_LABELS], 1 given' data import idx a -o c.h5
usage 'an unknown action' "dldist data: unknown action 'imprt' (did you mean 'import'?)" data imprt
try alone data info absent.h5
check 'info of a missing file' '3: dldist: error: absent.h5: the data file does not exist' "$code: $(cat err)"

say '== inspect'
prints 'a table' "checkpoint      demo/checkpoints/step-00000460
weights_sha256  $(end_of demo weights_sha256)
position        20 epochs, 460 steps (0 in the epoch)
parameters      9610
shards          8
model.safetensors
  layers.1.weight                      F32   (128, 64)
  layers.1.bias                        F32   (128)
  layers.4.weight                      F32   (10, 128)
  layers.4.bias                        F32   (10)
optimizer.safetensors
  exp_avg.layers.1.weight              F32   (128, 64)
  exp_avg.layers.1.bias                F32   (128)
  exp_avg.layers.4.weight              F32   (10, 128)
  exp_avg.layers.4.bias                F32   (10)
  exp_avg_sq.layers.1.weight           F32   (128, 64)
  exp_avg_sq.layers.1.bias             F32   (128)
  exp_avg_sq.layers.4.weight           F32   (10, 128)
  exp_avg_sq.layers.4.bias             F32   (10)" inspect demo
# The digest by hand: of each tensor its name, a 0 byte and its bytes, in file order.
tensors=demo/checkpoints/latest/model.safetensors
header=$(od -An -tu8 -N 8 "$tensors" | tr -d ' ')
head -c $((8 + header)) "$tensors" | tail -c "$header" | grep -o '"layers[^}]*}' |
  sed 's/"\([^"]*\)".*"data_offsets":\[\([0-9]*\),\([0-9]*\)\].*/\1 \2 \3/' | sort -n -k 2 >offsets
check 'the weights are four tensors' 4 "$(wc -l <offsets)"
check 'weights_sha256 is what the contract says it is' "$(end_of demo weights_sha256)" \
  "$(while read -r name begin end; do
    printf '%s\0' "$name"
    head -c $((8 + header + end)) "$tensors" | tail -c $((end - begin))
  done <offsets | sha256sum | cut -d' ' -f1)"

say '== list, help, doctor'
run r2 list
cp out everything
for name in layers losses optimizers schedules metrics formats sync; do
  holds "list has $name" grep -qx "$name" everything
  run alone list "$name"
  holds 'and they are something' test -s out
done
run alone list layers
for name in dense relu sigmoid tanh softmax dropout flatten; do contains "layer $name" "  $name " out; done
run alone list losses
for name in cross_entropy bce mse; do contains "loss $name" "  $name " out; done
run alone list optimizers
for name in sgd adam; do contains "optimizer $name" "  $name " out; done
version=$(sed -n 's/^project(dldist VERSION \([0-9.]*\).*/\1/p' "$DLDIST_SOURCE/CMakeLists.txt")
prints 'the version' "dldist $version" --version
run alone help
for name in train eval predict data report inspect list bench doctor; do
  contains "help names $name" "  $name " out
  run alone help "$name"
  contains "and has a page for it" "usage: dldist $name" out
  cp out page
  run alone "$name" --help
  holds "which $name --help shows too" cmp page out
  run alone help
done
run alone help train
for key in name seed task data.file data.valid model loss optimizer schedule train.epochs train.batch train.clip_norm \
  sync.shards sync.transport compute.backend checkpoint.keep log.every_steps; do
  contains "help train knows $key" "  $key" out
done
run r2 doctor
contains 'doctor tells the version' "dldist $version" out
contains 'and sees both ranks' '2 members on 1 node' out
check 'once' 1 "$(grep -c '^dldist' out)"
usage 'an unknown command' "unknown command 'trian' (did you mean 'train'?)" trian
usage 'one like nothing' "unknown command 'frobnicate' (see dldist help)" frobnicate
usage 'an unknown option' "dldist train: unknown option '--rnu' (did you mean '--run'?)" train --rnu x
usage 'a key as an option' "dldist train: unknown option '--epochs' (a key of the configuration is set with --set train.epochs=5)" train --epochs 5
usage 'as others spell it' "dldist train: unknown option '--batch-size=64' (a key of the configuration is set with --set train.batch=64)" train --batch-size=64
usage 'an option of the optimizer' "dldist train: unknown option '--lr' (a key of the configuration is set with --set optimizer.lr=VALUE)" train --lr
usage 'where there is no configuration' "dldist report: unknown option '--epochs' (see dldist help report)" report --epochs 5
usage 'a missing value' 'dldist train: --run needs a value: DIR' train --run
usage 'too many arguments' "dldist train: 'b.yaml' is one argument too many (see dldist help train)" train a.yaml b.yaml
usage 'no threads' "dldist train: -j takes a number of threads from 1 to 1024, not '0'" train -j 0
usage 'an unknown list' "dldist list: unknown list 'layer' (did you mean 'layers'?)" list layer
usage 'an unknown benchmark' "dldist bench: unknown benchmark 'stp' (there are: step, loader, sync, ps)" bench stp

say '== where things are'
mkdir -p 'a place/below'
cp line.h5 'a place/'
sed 's|line.h5|../line.h5|' line.yaml >'a place/below/c.yaml'
run r2 train 'a place/below/c.yaml' --run 'a run' --quiet
check 'data.file starts at the folder of the configuration' "$(end_of line weights_sha256)" "$(end_of 'a run' weights_sha256)"
contains 'config.yaml has all of its path' "file: \"$(pwd -P)/a place/line.h5\"" 'a run/config.yaml'
mv 'a run' moved
run alone eval --run moved --json
check 'a run folder may be moved' 150 "$(field samples out)"
mkdir parts
"$DLDIST_H5" make line parts/part-1.h5
"$DLDIST_H5" make line parts/part-2.h5
run r2 train line.yaml --run glob --set 'data.file=parts/part-*.h5' --set train.epochs=1 --quiet
events start glob >begin
check 'several files are one data set' 1200 "$(field train_samples begin)"
run alone train line.yaml --run files --set 'data.file=[parts/part-1.h5, parts/part-2.h5]' --set train.epochs=1 --quiet
check 'whether by a pattern or a list' "$(end_of glob weights_sha256)" "$(end_of files weights_sha256)"

say '== examples'
mkdir black
head -c $((20 * 3073)) /dev/zero >black/data_batch_1.bin # 20 black images of class 0
cp black/data_batch_1.bin black/test_batch.bin
run alone data import cifar10 black -o black.h5
run alone data import csv "$DLDIST_SOURCE/examples/parity.csv" --target odd --task binary -o binary.h5
"$DLDIST_H5" make line values.h5
for example in "$DLDIST_SOURCE"/examples/*.yaml; do
  ! grep -q '^task: language_model' "$example" || continue # test_language.sh has a text for them
  case $example in *cifar10*) data=$PWD/black.h5 ;; *parity* | *spambase*) data=$PWD/binary.h5 ;;
    *line* | *nh.yaml | *fm.yaml) data=$PWD/values.h5 ;; *) data=$DIGITS ;; esac
  run r2 train "$example" --dry-run --set "data.file=$data"
  contains "${example##*/} is sound" 'configuration in force:' out
done
run alone train "$DLDIST_SOURCE/examples/digits.yaml" --run example --quiet
events eval example | tail -n 1 >last
holds "digits.yaml is right in more than 95 of 100 ($(field accuracy last))" awk "BEGIN { exit !($(field accuracy last) > 0.95) }"

say '== dry-run, --set, --quiet'
run r2 train line.yaml --dry-run --run dry --set train.epochs=7
contains 'a dry run prints the network' 'layers.0  dense  (1)' out
contains 'and the configuration in force' 'epochs: 7' out
holds 'and leaves no folder' test ! -e dry
run alone train line.yaml --run quiet --quiet --set train.epochs=1
check '--quiet says nothing on standard error' '' "$(cat err)"
contains 'the scores of test are a result' 'test (150 samples)' out
run alone train line.yaml --run full --set train.epochs=1
check 'without it standard output is the same' "$(cat out)" "$(run alone train line.yaml --run quiet2 --quiet --set train.epochs=1 && cat out)"
run alone bench step --batch 8 --steps 20
contains 'bench step times a step' 'step: median' out
contains 'of the MLP by default' 'mlp, 669706 parameters, 1 rank, 8 samples a rank, 1 shards' out
while read -r model parameters; do # counted by PyTorch, running averages of batchnorm included
  run r2 bench step --model "$model" --batch 2 --steps 1 --peak 281
  contains "bench step knows $model" "$model, $parameters parameters, 2 ranks, 2 samples a rank, 2 shards" out
  contains 'and prints its share of the peak' '% of 281 GF/s' out
done <<'MODELS'
cifar10-cnn 122570
resnet20 274042
lstm 958560
gpt 3241568
MODELS
run r2 bench step --guards --batch 4 --steps 60
contains 'bench step --guards says what they cost' 'guards: all together' out
check 'each of them' 3 "$(grep -cE '^(hashes of weights|audits of all copies|a leaf computed twice).* %' out)"
run alone bench step --guards --batch 4 --steps 20 --set sync.audit_every=0 --set sync.recompute_every=0
check 'where there is none, nothing' 0 "$(grep -cE '^(audits|a leaf)' out || true)"
run r2 bench sync --min 4 --max 64 --csv sync.csv
contains 'bench sync has a line for a size' '       16384     0.0625' out
check 'and writes its figures' 4 "$(wc -l <sync.csv)"
check 'all of them' 'ranks,nodes,transport,parameters,bytes,fused_s,two_phase_s,allreduce_s,iallreduce_s,copy_s,share_s,move_s' \
  "$(head -n 1 sync.csv)"
check 'as times' 3 "$(grep -cE '^2,1,shm,[0-9]+,[0-9]+(,0\.[0-9]{9}){7}$' sync.csv)"
run alone bench sync -j 3 --min 16 --max 16
contains 'without MPI there is no peer' ' -  ' out
usage 'sizes upside down' "dldist bench: --min 8 is above --max 4" bench sync --min 8 --max 4
usage 'an optimizer that needs norms' "dldist bench sync: lars needs norms of tensors and cannot be timed alone; take adam" bench sync --max 4 --set optimizer.name=lars
usage 'an unknown network' "dldist bench: unknown model 'gtp' (did you mean 'gpt'?)" bench step --model gtp
usage 'a peak that is none' "dldist bench: --peak takes a number of GF/s above 0, not 'fast'" bench step --peak fast
check 'standard output on a full disk is an error' 1 "$("$DLDIST" list >/dev/full 2>/dev/null || echo $?)"
usage 'a --set without a value' \
  '--set train.epochs: not of the form key.path=VALUE (for example --set train.epochs=5)' train line.yaml --set train.epochs

finish
