#!/usr/bin/env bash
# dldist data stats and dldist report as a user runs them: equal bytes at any number of ranks, figures that are known of
# the digits, pages that are there and need nothing else, mistakes with their exit codes.
# Usage: tests/cli/test_reports.sh    (by ctest)
set -euo pipefail
case ${1:-} in -h | --help) awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0" && exit ;; esac
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# wrong SENTENCE CODE PART ARGUMENTS...: that command fails so, on one rank and on two.
wrong() {
  local sentence=$1 wanted=$2 part=$3 how
  shift 3
  for how in alone r2; do
    try "$how" "$@"
    check "$sentence is exit $wanted ($how)" "$wanted" "$code"
    contains "and says why" "$part" err
    check 'once' 1 "$(grep -c '^dldist: error' err)"
  done
}

# needs_nothing FILE: a page without scripts or anything from outside.
needs_nothing() {
  holds "$1 is a page" grep -q '^<!DOCTYPE html>' "$1"
  holds 'that ends' grep -q '</html>$' "$1"
  check 'and names nothing outside of it' 0 "$(grep -ciE '<script|https?:|src=|@import|url\(' "$1" || true)"
}

say '== data stats'
run alone data stats "$DIGITS" --json
cp out digits.json
for how in j3 r2 r3 r2j2; do
  run "$how" data stats "$DIGITS" --json
  holds "the same bytes $how" cmp out digits.json
done
contains 'all pixels of 1,438 images are counted' '"count": 92032' digits.json
contains 'the largest is 16' '"max": 16.0' digits.json
run alone data stats "$DIGITS" --split test
contains 'the other split' 'test/x, 359 samples' out
run r3 data stats "$DIGITS" --html digits.html
contains 'the table comes as well' 'best fit' out
needs_nothing digits.html
contains 'with the classes' 'Class balance' digits.html

wrong 'no file' 2 'needs one FILE' data stats
wrong 'two files' 2 'needs one FILE' data stats a b
wrong 'a missing file' 3 'does not exist' data stats none.h5
wrong 'a split that is not there' 3 "no data set 'valid/x'" data stats "$DIGITS" --split valid
wrong 'a wrong split' 2 'train|valid|test' data stats "$DIGITS" --split all
wrong 'a wrong memory' 2 'MiB' data stats "$DIGITS" --memory lots
wrong 'a page in no folder' 1 'nowhere/x.html' data stats "$DIGITS" --html nowhere/x.html

say '== report'
for lr in 0.001 0.01; do
  run r2 train --run "run-$lr" --quiet --set train.epochs=3 --set data.valid=0.1 --set optimizer.lr="$lr"
  needs_nothing "run-$lr/report.html"
done
contains 'training leaves a page with the loss' '<h3>loss</h3>' run-0.01/report.html
contains 'and the configuration' 'lr: 0.01' run-0.01/report.html
run alone report run-0.001 run-0.01/
check 'report says what it wrote' $'run-0.001/report.html\nrun-0.01/report.html' "$(cat out)"
contains 'and compares' '<td>optimizer.lr</td><td>0.001</td><td>0.01</td>' run-0.001/report.html
needs_nothing run-0.001/report.html
run r3 report run-0.001
check 'one rank reports' 1 "$(wc -l <out)"
printf '{"event":"step","step":9' >>run-0.001/metrics.jsonl
run alone report run-0.001
contains 'a torn line is told' '1 line that could not be read' run-0.001/report.html
try alone train --run stopped --quiet --set optimizer.lr=1e30 --set train.epochs=2
if [ "$code" = 4 ]; then contains 'a run that failed has its page' 'failed' stopped/report.html; fi
check 'a learning rate without sense fails' 4 "$code"

wrong 'a folder that is no run' 3 'there is no such folder' report none
mkdir empty
wrong 'an empty folder' 3 'no metrics.jsonl' report empty
wrong 'no run' 2 'an argument is missing' report
finish
