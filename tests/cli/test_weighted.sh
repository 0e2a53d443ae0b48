#!/usr/bin/env bash
# What eval says of weighted samples follows from what predict writes, and is the same at any number of members.
# Usage: tests/cli/test_weighted.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$DLDIST_H5" make weighted w.h5
cat >w.yaml <<'YAML'
name: weighted
data: {file: w.h5, train: {x: train/x, y: train/y, weight: train/weight}}
model: [dense: 10]
optimizer: {name: adam, lr: 0.05}
train: {epochs: 6, batch: 50}
sync: {shards: 5}
YAML
run j2 train w.yaml --run w --quiet
run alone predict --run w --data w.h5 --split train -o p.h5
for set in scores labels y; do "$DLDIST_H5" print p.h5 "$set" >"$set.txt"; done
"$DLDIST_H5" print w.h5 train/weight >weight.txt
run alone eval --run w --split train --json
cp out alone.json
for how in j3 r3 r5; do
  run $how eval --run w --split train --json
  check "$how: the same figures" "$(cat alone.json)" "$(cat out)"
done
check 'weights are of three kinds' '0 1 2' "$(sort -n weight.txt | uniq | xargs)"
# close NAME EXPECTED: the figure in alone.json.
close() { holds "$1 is $2" awk "BEGIN { d = $(field "$1" alone.json) - $2; exit !(d < 1e-9 && d > -1e-9) }"; }
close accuracy "$(paste labels.txt y.txt weight.txt | awk '{ n += $3; if ($1 == $2) right += $3 } END { printf "%.12f", right / n }')"
# The share of pairs of a sample of the class and one that is not, by the product of their weights, whose scores are in order.
close macro_roc_auc "$(paste -d' ' y.txt weight.txt scores.txt | awk '
  { y[NR] = $1; w[NR] = $2; for (c = 0; c < 10; c++) s[NR, c] = $(3 + c) }
  END {
    for (c = 0; c < 10; c++) {
      right = all = 0
      for (i = 1; i <= NR; i++) if (y[i] == c) for (k = 1; k <= NR; k++) if (y[k] != c) {
        all += w[i] * w[k]
        right += w[i] * w[k] * (s[i, c] > s[k, c] ? 1 : s[i, c] == s[k, c] ? 0.5 : 0)
      }
      if (all) { sum += right / all; n++ }
    }
    printf "%.12f", sum / n
  }')"
check 'confusion counts are samples' "$(wc -l <y.txt | xargs)" \
  "$(grep -o '"confusion":[^a-z]*' alone.json | tr -c '0-9\n' ' ' | awk '{ for (i = 1; i <= NF; i++) n += $i } END { print n }')"
finish
