# shellcheck shell=bash
# What the tests of the command line share: a folder of their own that goes away, starting dldist alone, in threads or under
# mpirun, sentences that are checked. They get DLDIST (the program), DLDIST_H5 (tests/cli/h5.c) and DLDIST_SOURCE by
# environment, and run as a user would run the program: nothing here knows its inside.
# Usage: source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"    (not run by itself)

for variable in DLDIST DLDIST_H5 DLDIST_SOURCE; do
  [ -n "${!variable:-}" ] || { echo "$variable is not set: run the tests through ctest" && exit 1; }
done
# mpirun's own lines after a failure are none of dldist's.
export OMPI_MCA_orte_execute_quiet=1 OMPI_MCA_btl_base_warn_component_unused=0
FASHION=/usr/share/datasets/fashion-mnist
DIGITS=$DLDIST_SOURCE/share/digits.h5

work=$(mktemp -d)
trap 'cd / && rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

say() { printf '%s\n' "$*"; }

# check SENTENCE EXPECTED FOUND
check() {
  if [ "$2" = "$3" ]; then
    say "ok: $1"
  else
    printf 'FAILED: %s\n--- expected\n%s\n--- found\n%s\n' "$1" "$2" "$3"
    failed=1
  fi
}

# holds SENTENCE COMMAND...: the command succeeds.
holds() {
  local sentence=$1
  shift
  if "$@" >/dev/null 2>&1; then
    say "ok: $sentence"
  else
    say "FAILED: $sentence"
    say "--- not true: $*"
    failed=1
  fi
}

# contains SENTENCE PART FILE: a fixed text is in the file.
contains() {
  if grep -qF -- "$2" "$3"; then
    say "ok: $1"
  else
    printf 'FAILED: %s\n--- expected in it\n%s\n--- found\n%s\n' "$1" "$2" "$(cat "$3")"
    failed=1
  fi
}

# start HOW ARGUMENTS...: sets `command` to what starts dldist so. HOW: alone, j3 (three threads), r3 (three MPI ranks),
# r2j2 (two ranks of two threads), with a -mpi behind it for sync.transport: mpi.
start() {
  local how=$1 ranks='' threads=''
  shift
  command=(timeout 120)
  [[ $how =~ r([0-9]+) ]] && ranks=${BASH_REMATCH[1]} && command+=(mpirun -np "$ranks")
  command+=("$DLDIST" "$@")
  [[ $how =~ j([0-9]+) ]] && threads=${BASH_REMATCH[1]} && command+=(-j "$threads")
  [[ $how != *-mpi ]] || command+=(--set sync.transport=mpi)
}

# try HOW ARGUMENTS...: runs it; `code` is its exit code, $work/out and $work/err what it wrote.
try() {
  local command
  start "$@"
  code=0
  "${command[@]}" >"$work/out" 2>"$work/err" </dev/null || code=$?
}

# run HOW ARGUMENTS...: the same, and it must succeed.
run() {
  try "$@"
  if [ "$code" != 0 ]; then
    printf 'FAILED: dldist %s: exit code %s\n%s\n' "$*" "$code" "$(cat "$work/err")"
    failed=1
  fi
}

# field NAME FILE: the value of a field in the last line of a file of JSON lines that has it.
field() { sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p' "$2" | tail -n 1; }

# events KIND RUN: the lines of metrics.jsonl with that event.
events() { grep '^{"event":"'"$1"'"' "$2/metrics.jsonl" || true; }

# end_of RUN FIELD: a field of the last `end` event.
end_of() {
  events end "$1" | tail -n 1 >"$work/end"
  field "$2" "$work/end"
}

# history RUN: what each step and each evaluation computed, without anything that takes time.
history() {
  events '\(step\|eval\)' "$1" |
    sed 's/"time":[^,]*,//; s/"samples_per_s":.*//'
}

# steps_of RUN: "1-600 each once" when its step lines are these, in this order.
steps_of() {
  events step "$1" | sed 's/.*"step":\([0-9]*\).*/\1/' |
    awk '$1 != NR { bad = bad " " $1 } END { if (bad) print "out of order:" substr(bad, 1, 60); else print "1-" NR " each once" }'
}

# last_step RUN: of the end of its metrics.jsonl, as it is asked for often while a run goes on.
last_step() {
  [ -r "$1/metrics.jsonl" ] || { echo 0 && return; }
  tail -n 50 "$1/metrics.jsonl" | grep '^{"event":"step"' | tail -n 1 | sed 's/.*"step":\([0-9]*\),.*/\1/' | grep . || echo 0
}

# interrupted HOW STEP SIGNAL RUN ARGUMENTS...: trains, sends the signal once that step is past; `code` as try has it. A signal
# `one-SIGNAL` goes to the last of the ranks alone.
interrupted() {
  local how=$1 step=$2 signal=$3 folder=$4 command target
  shift 4
  start "$how" train "$@" --run "$folder"
  code=0
  "${command[@]:2}" >out 2>err </dev/null & # without timeout, which would keep signals to itself
  local pid=$! target=$!
  for _ in $(seq 1200); do
    [ "$(last_step "$folder")" -lt "$step" ] || break
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.02
  done
  [[ $signal != one-* ]] || target=$(pgrep -P "$pid" | tail -n 1)
  kill -"${signal#one-}" "$target" 2>/dev/null || true
  wait "$pid" || code=$?
}

# import_fashion FILE: the real images where they are installed; without them the digits stand in (and `data_name` says so).
import_fashion() {
  if [ -r "$FASHION/train-images-idx3-ubyte.gz" ]; then
    data_name='Fashion-MNIST'
    "$DLDIST" data import idx "$FASHION"/train-{images-idx3,labels-idx1}-ubyte.gz "$FASHION"/t10k-{images-idx3,labels-idx1}-ubyte.gz \
      -o "$1"
  else
    # shellcheck disable=SC2034 # read by who sources this
    data_name='digits (dataset-fashion-mnist is not installed)'
    cp "$DIGITS" "$1"
  fi
}

finish() {
  [ "$failed" = 0 ] || say "$(basename "$0"): something failed, see FAILED above"
  exit "$failed"
}
