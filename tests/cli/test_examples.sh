#!/usr/bin/env bash
# The examples that need no network: run as their heads say, with what they promise.
# Usage: tests/cli/test_examples.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
mkdir examples data
cp "$DLDIST_SOURCE"/examples/{line,parity}.{yaml,csv} examples/

# as_told FILE: runs the commands of the comment that an example begins with; the last one's output is in $work/told.
as_told() {
  local line
  sed -n 's/^#   dldist \([^(]*\)$/\1/p' "$1" >commands
  holds "$1 says how it is run" test -s commands
  while read -r line; do
    read -ra words <<<"$line"
    timeout 120 "$DLDIST" "${words[@]}" >told 2>err </dev/null ||
      { say "FAILED: dldist $line" && cat err && failed=1; }
  done <commands
}
# value PATTERN FILE: the second word of the line that begins with it.
value() { awk -v name="$1" '$1 == name { print $2; exit }' "$2"; }

say '== line'
as_told examples/line.yaml
run alone predict --run runs/line --data data/line.h5 --split train -o line.h5
"$DLDIST_H5" print line.h5 scores >line.txt 2>err || { say 'FAILED: no scores' && cat err && failed=1; }
# Two predictions give slope and offset.
# shellcheck disable=SC2016 # awk's own $
holds 'the weight is near 2 and the bias near 0' awk 'NR == 1 { a = $1 } NR == 4 { s = ($1 - a) / 3; o = a - s }
  END { exit !(s > 1.98 && s < 2.02 && o > -0.05 && o < 0.05) }' line.txt
check 'four points' 4 "$(wc -l <line.txt | xargs)"

say '== parity'
as_told examples/parity.yaml
check 'all ten are right' 1.0000 "$(value accuracy told)"
check 'and in order' 1.0000 "$(value roc_auc told)"
run r3 eval --run runs/parity --split train --json
cp out ranks.json
run j2 eval --run runs/parity --split train --json
check 'eval says the same at any number of members, curves included' "$(cat ranks.json)" "$(cat out)"
contains 'the confusion counts are those of ten right answers' '"confusion":[[5,0],[0,5]]' out
contains 'the ROC curve begins before all samples' '"roc_curve":{"fpr":[0.0,' out
contains 'and the precision-recall curve' '"pr_curve":{"recall":[0.0,' out
holds 'the run left its evaluation only where there is a split to judge' test ! -e runs/parity/evaluation.json

say '== thresholds'
run alone predict --run runs/parity --data data/parity.h5 --split train -o half.h5
check 'odd digits are 1' '0 1 0 1 0 1 0 1 0 1' "$("$DLDIST_H5" print half.h5 labels | xargs)"
run r2 predict --run runs/parity --data data/parity.h5 --split train --threshold 1 -o none.h5
check 'nothing is above 1' '0 0 0 0 0 0 0 0 0 0' "$("$DLDIST_H5" print none.h5 labels | xargs)"
run alone eval --run runs/parity --split train --threshold 1 --json
check 'nor counted as yes' 0.5 "$(field accuracy out)"
contains 'the threshold is told' '"threshold":1.0' out
try alone eval --run runs/parity --split train --threshold high
check 'a word is no threshold' 2 "$code"
contains 'and told' "--threshold takes a number such as 0.5, not 'high'" err
try r2 eval --run runs/line --split train --threshold 0.5
check 'a regression has none' 2 "$code"
contains 'and that is told' '--threshold goes with the tasks binary and multilabel; this model'\''s is regression' err

say '== what a run leaves'
run alone train examples/parity.yaml --run split --quiet --set data.test='{x: train/x, y: train/y}' --set train.epochs=5
holds 'evaluation.json is there' test -s split/evaluation.json
run alone eval --run split --json
sed 's/^{"step":[0-9]*,//' split/evaluation.json >kept
check 'and says what eval says' "$(sed 's/^{//' out)" "$(cat kept)"

finish
