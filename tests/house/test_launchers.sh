#!/usr/bin/env bash
# launchers/local starts ranks, hands on arguments, exit codes and signals; launchers/common.sh asks for what is missing
# and no more. A stand-in takes the program's place.
# Usage: tests/house/test_launchers.sh [--help]
set -euo pipefail
case ${1:-} in -h | --help) awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# What the test environment sets must not stand in for what the launcher sets.
unset "${!OMPI_@}" "${!PRTE_@}" DLDIST_TERMINAL

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
check() {
  if [ "$2" != "$3" ]; then
    printf '%s:\n--- expected\n%s\n--- found\n%s\n' "$1" "$2" "$3"
    failed=1
  fi
}

cat >"$work/dldist" <<'STANDIN'
#!/usr/bin/env bash
set -euo pipefail
rank=$OMPI_COMM_WORLD_RANK
case $1 in
  say) printf '%s/%s <%s> <%s>\n' "$rank" "$OMPI_COMM_WORLD_SIZE" "$2" "${3-}" ;;
  exit) exit "$2" ;;
  die) [ "$rank" = 0 ] || kill -KILL $$ && sleep 20 ;;
  input) cat ;;
  terminal) printf '%s\n' "${DLDIST_TERMINAL-none}" ;;
  wait) # until told to stop, as training does
    trap 'echo asked >>"$WORK/asked.$rank"; sleep 1; exit 75' USR1
    : >"$WORK/ready.$rank"
    for _ in $(seq 400); do sleep 0.05; done
    exit 3 ;;
  stubborn)
    trap 'true' USR1
    : >"$WORK/ready.$rank"
    for _ in $(seq 400); do sleep 0.05 || true; done
    exit 3 ;;
esac
STANDIN
chmod +x "$work/dldist"
export DLDIST=$work/dldist WORK=$work

check 'arguments reach every rank' $'0/5 <a b> <>\n1/5 <a b> <>\n2/5 <a b> <>\n3/5 <a b> <>\n4/5 <a b> <>' \
  "$(launchers/local -n 5 say 'a b' | sort)"
check 'without -n there is a rank a core' \
  "$(bash -c 'source launchers/common.sh && count_cores')" "$(launchers/local say x | wc -l)"
check 'the ranks do not read the terminal' '' "$(echo text | launchers/local -n 1 input)"

check 'without a terminal none is announced' none "$(launchers/local -n 1 terminal 2>/dev/null)"
check 'a terminal is announced with its width' 97 \
  "$(TERM=xterm script -qec 'stty cols 97 rows 20; launchers/local -n 1 terminal' /dev/null </dev/null | tr -d '\r')"
check 'a dumb one is not' none "$(TERM=dumb script -qec 'launchers/local -n 1 terminal' /dev/null </dev/null | tr -d '\r')"

# code_of COMMAND...: its exit code; what it says on standard error goes to $work/said.
code_of() {
  local code=0
  "$@" 2>"$work/said" >/dev/null || code=$?
  echo "$code"
}
for code in 0 2 3 4 75; do
  check "exit code $code is handed on" "$code" "$(code_of launchers/local -n 2 exit "$code")"
  check 'and mpirun has nothing to say about it' '' "$(cat "$work/said")"
done
check 'a rank that was killed is a rank that was lost' 4 "$(code_of launchers/local -n 2 die)"
check 'a wrong -n is wrong usage' 2 "$(code_of launchers/local -n two say x)"
check 'and says so' "local: -n wants a number of ranks, not 'two'" "$(cat "$work/said")"
check 'a -n without a number is wrong usage' 2 "$(code_of launchers/local -n)"

# signal_run WHAT SIGNAL...: the exit code of 2 ranks that run WHAT and get the signals, half a second apart.
signal_run() {
  local what=$1 pid code=0 signal
  shift
  rm -f "$work"/{ready,asked}.*
  # A shell's background jobs ignore SIGINT; a terminal's do not.
  env --default-signal=INT launchers/local -n 2 "$what" >/dev/null 2>&1 &
  pid=$!
  for _ in $(seq 200); do
    if [ -e "$work/ready.0" ] && [ -e "$work/ready.1" ]; then break; fi
    sleep 0.05
  done
  for signal in "$@"; do
    kill -"$signal" "$pid"
    sleep 0.5
  done
  wait "$pid" || code=$?
  echo "$code"
}
for signal in TERM INT HUP USR1; do
  check "SIG$signal asks the ranks to stop" 75 "$(signal_run wait "$signal")"
done
check 'SIGUSR1 said twice' 75 "$(signal_run wait USR1 USR1)"
check 'is handed on once' $'asked\nasked' "$(cat "$work"/asked.*)"
started=$SECONDS
code=$(signal_run stubborn TERM TERM)
check 'a second signal ends what does not stop' yes "$([ "$code" != 0 ] && [ "$code" != 3 ] && echo yes || echo "code $code")"
check 'and soon' yes "$([ $((SECONDS - started)) -lt 12 ] && echo yes || echo "after $((SECONDS - started)) s")"

# Data sets: a file of the user's is looked at before anything is written.
check 'a second argument that no data set takes' 2 "$(code_of launchers/dataset digits some.tar.gz)"
check 'an archive that is not there' 2 "$(code_of launchers/dataset --force cifar10 "$work/none.tar.gz")"
check 'is named' "dataset: there is no file '$work/none.tar.gz'" "$(grep '^dataset: ' "$work/said")"
tar -czf "$work/other.tar.gz" -C "$work" dldist
check 'an archive of something else' 3 "$(code_of launchers/dataset --force cifar10 "$work/other.tar.gz")"
check 'is not taken for CIFAR-10' 1 "$(grep -c '^dataset: .*other.tar.gz is not cifar-10-binary.tar.gz' "$work/said")"

# Packages, with stand-ins for Debian's tools: only what is missing is asked for, and the network only then.
mkdir "$work/bin"
cat >"$work/bin/dpkg-query" <<'STANDIN'
#!/usr/bin/env bash
case ${*: -1} in there | other-name) printf 'install ok installed' ;; removed) printf 'deinstall ok config-files' ;; *) exit 1 ;; esac
STANDIN
cat >"$work/bin/apt-cache" <<'STANDIN'
#!/usr/bin/env bash
case ${*: -1} in new-name | removed | nice) printf '%s:\n  Candidate: 1.0-1\n' "${*: -1}" ;; virtual) printf '  Candidate: (none)\n' ;; esac
STANDIN
cat >"$work/bin/apt-get" <<'STANDIN'
#!/usr/bin/env bash
echo "apt-get $*" >>"$WORK/asked"
STANDIN
cat >"$work/bin/sudo" <<'STANDIN'
#!/usr/bin/env bash
echo sudo >>"$WORK/asked"
exec "$@"
STANDIN
chmod +x "$work"/bin/*
asked_for() {
  : >"$work/asked"
  PATH=$work/bin:$PATH bash -euo pipefail -c 'source launchers/common.sh && install_packages "$@"' x "$@" 2>"$work/said" ||
    echo "exit $?"
  sed -n '/^sudo$/d; s/.* --no-install-recommends //p; s/.*update.*/update/p' "$work/asked"
}
check 'nothing missing, nothing asked' '' "$(asked_for there 'old-name|other-name' '?unknown')"
check 'the missing one, by the name it has here' $'update\nnew-name' "$(asked_for there 'old-name|new-name')"
check 'one that was removed' $'update\nremoved' "$(asked_for removed)"
check 'what is nice to have comes along' $'update\nnew-name nice' "$(asked_for new-name '?nice' '?unknown')"
check 'an unknown package is an error' $'exit 1\nupdate' "$(asked_for 'virtual|unknown')"
check 'that names it' "no package 'virtual|unknown'" "$(grep -o "no package 'virtual|unknown'" "$work/said")"

exit "$failed"
