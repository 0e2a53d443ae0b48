#!/usr/bin/env bash
# Data from other formats on the command line: what is imported trains, the bytes do not depend on ranks, a killed import
# leaves nothing that looks whole, and verify and split do what they say.
# Usage: through ctest; see lib.sh
set -euo pipefail
case ${1:-} in -h | --help) awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0" && exit ;; esac
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck disable=SC2154 # `work` and `code` are lib.sh's

say '== csv'
# Two classes that a line tells apart.
awk 'BEGIN { print "id,a,b,color,kind"; for (i = 0; i < 400; i++) { a = i % 20; b = (i * 7) % 23
  print i "," a / 10 "," b / 10 "," (i % 3 ? "red" : "blue") "," (a > b ? "more" : "less") } }' >table.csv
run alone data import csv table.csv --target kind --ignore id --test-fraction 0.25 --seed 3 -o table.h5
contains 'what was found is said' "table.csv: header, fields cut at ','; 2 columns of numbers, 1 of categories -> 4 features" err
contains 'and what was written' 'train 300, test 100 samples of float32 (4,); 2 classes, labels 0 to 1' err
run j2 train --set data.file="$work/table.h5" --set 'model=[{dense: 2}]' --set train.epochs=60 --set train.batch=20 \
  --set optimizer.lr=0.05 --run table
events eval table >evals
check 'it trains to an accuracy above 0.9' yes "$(field accuracy evals | awk '{ print ($1 > 0.9 ? "yes" : $1) }')"
cp table.h5 before
run r3 data import csv table.csv --target kind --ignore id --test-fraction 0.25 --seed 3 -o table.h5 --force
holds 'three ranks write the same bytes' cmp before table.h5
cp before first.h5
run j3 data import csv table.csv --target kind --ignore id --test-fraction 0.25 --seed 3 -o table.h5 --force
holds 'so do three threads' cmp first.h5 table.h5
try alone data import csv table.csv --target kid -o other.h5
check 'an unknown column' "2: dldist: error: table.csv: there is no column 'kid' (--target) (did you mean 'id'?)" "$code: $(cat err)"
printf 'name;size\nb;2,5\nc;3,5\n' >comma.csv
try alone data import csv comma.csv --target kid -o comma.h5
contains 'and what was taken for no header is told' '(its first record was not taken for a header: --header yes where it is one' err
printf 'a,y\n1,2\n,3\n' >holes.csv
try r3 data import csv holes.csv --target y -o holes.h5
check 'a missing value' "3: dldist: error: holes.csv:3:1: column 'a': the value is missing (say what to do: --missing mean, zero or drop)" \
  "$code: $(cat err)"
holds 'nothing is left of it' test ! -e holes.h5
try alone data import npy table.npz -o other.h5
check 'a format that the name of the file speaks against' \
  "2: dldist: error: dldist data import npy takes X.npy Y.npy [TEST_X.npy TEST_Y.npy], 1 given (or was it dldist data import npz FILE.npz)" "$code: $(cat err)"
printf 'PK\3\4..........' >table.npy
try alone data import npy table.npy table.npy -o other.h5
contains 'and one that its bytes speak against' 'dldist data import npz' err

say '== killed'
awk 'BEGIN { for (i = 0; i < 2000000; i++) print i ",2,3.25,\"a\nb\"," i % 2 }' >large.csv
"$DLDIST" data import csv large.csv --target -1 -o large.h5 2>/dev/null &
pid=$!
for _ in $(seq 200); do
  if compgen -G 'large.h5.tmp-*' >/dev/null; then break; fi
  sleep 0.01
done
kill -KILL "$pid" 2>/dev/null || true
wait "$pid" 2>/dev/null || true
check 'a killed import leaves no file of that name' '' "$(compgen -G 'large.h5' || true)"
for signal in TERM HUP; do
  "$DLDIST" data import csv large.csv --target -1 -o "$signal.h5" 2>/dev/null &
  pid=$!
  for _ in $(seq 400); do
    if compgen -G "$signal.h5.tmp-*" >/dev/null; then break; fi
    sleep 0.01
  done
  holds "an import that is sent SIG$signal has begun to write" compgen -G "$signal.h5.tmp-*"
  kill -"$signal" "$pid"
  wait "$pid" 2>/dev/null && code=0 || code=$?
  check 'and dies of it' "$((128 + $(kill -l "$signal")))" "$code"
  check 'and leaves nothing at all' '' "$(compgen -G "$signal.h5*" || true)"
done
# shellcheck disable=SC2016 # a rank's shell expands it
timeout -k 5 60 mpirun -n 3 bash -c 'echo $$ >"pid-$OMPI_COMM_WORLD_RANK"; exec "$@"' rank \
  "$DLDIST" data import csv large.csv --target -1 -o ranks.h5 2>/dev/null &
pid=$!
for _ in $(seq 400); do
  if compgen -G 'ranks.h5.tmp-*' >/dev/null; then break; fi
  sleep 0.01
done
kill -KILL "$(cat pid-2)"
wait "$pid" 2>/dev/null && code=0 || code=$?
holds 'a rank that is killed ends all, soon' test "$code" -ne 0 -a "$code" -ne 124
check 'without a file of that name' '' "$(compgen -G 'ranks.h5' || true)"
rm -f large.csv large.h5* ranks.h5*

say '== verify and split'
run alone data verify "$DIGITS"
contains 'a good file' 'nothing is wrong' out
"$DLDIST_H5" make nan nan.h5
try r2 data verify nan.h5
check 'NaN is bad data' 3 "$code"
contains 'and named' 'train/x: not finite' out
try alone data verify nan.h5 --json
contains 'as JSON too' '"kind": "not finite"' out
"$DLDIST_H5" make good good.h5
cp good.h5 whole.h5
run alone data import csv table.csv --target kind -o plain.h5
run alone data split plain.h5 -o cut.h5 --test-fraction 0.25 --valid-fraction 0.25
contains 'split says what it wrote' 'train 200, valid 100, test 100 samples of float32 (5,); 2 classes, labels 0 to 1' err
check 'split cuts test and valid off' '100 100 200' \
  "$("$DLDIST" data info cut.h5 | sed -n 's/^[a-z]*\/y .*(\([0-9]*\),).*chunks.*/\1/p' | sort -n | tr '\n' ' ' | sed 's/ $//')"
try alone data split cut.h5 -o again.h5 --test-fraction 0.25
check 'but not twice' '2: dldist: error: cut.h5: has a test split already (leave out --test-fraction)' "$code: $(cat err)"

say '== every option of every format is one of the command'
"$DLDIST" help data >usage.txt
"$DLDIST" list formats | sed -n 's/^      \([a-z-]*\)  .*: .*/\1/p' | sort -u >options
holds 'there are some' test "$(wc -l <options)" -ge 12
while read -r option; do
  contains "--$option" "  --$option " usage.txt
done <options

finish
