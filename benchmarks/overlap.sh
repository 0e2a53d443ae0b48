#!/usr/bin/env bash
# overlap.sh - a training step on two hosts, with and without sync.overlap: at 1 Gbit/s and 100 us between them, and unshaped.
#
# usage: benchmarks/overlap.sh [-r ROUNDS] [-l 1000|0] [CASE...]
#   -r   rounds of each measurement, interleaved (default 3); the fastest of each is reported
#   -l   Mbit/s of the link, 0: none (default: both)
#   CASE one of those below, by name (default: all)
#
# The hosts are network namespaces on this machine (tests/cluster), so it takes root, and they share its cores: with as many ranks as
# cores, what moves messages takes its time from what computes. First with computing replaced by sleep (tests/cluster/overlap.c), which
# shows what is hidden where cores are left; then networks of `dldist bench step`, which compute, with the milliseconds that forward,
# backward and the exchange take by themselves, of the fastest run in turn. Needs the tests to be built (launchers/test release);
# nothing else should run meanwhile.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
rounds=3
links=(1000 0)
# name: what is timed, and its arguments
declare -A CASES=(
  # 16 MiB are 134 ms on the wire for gradients and weights together.
  [asleep-even]='sleeping 16 4 8' [asleep-exchange]='sleeping 16 0.1 0.1' [asleep-computing]='sleeping 2 20 40'
  # MODEL BATCH STEPS
  [mlp]='computing mlp 128 60' [mlp-2048]='computing mlp 2048 16'
  [cifar10-cnn]='computing cifar10-cnn 32 60' [cifar10-cnn-64]='computing cifar10-cnn 64 40'
  [resnet20]='computing resnet20 32 20' [lstm]='computing lstm 32 10' [gpt]='computing gpt 16 6'
)
known=(asleep-even asleep-exchange asleep-computing mlp mlp-2048 cifar10-cnn cifar10-cnn-64 resnet20 lstm gpt)

usage() {
  awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"
  echo "cases: ${known[*]}"
}
while getopts r:l:h option; do
  case $option in
    r) rounds=$OPTARG ;;
    l) links=("$OPTARG") ;;
    h) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
done
shift $((OPTIND - 1))
names=("${@:-"${known[@]}"}")
[[ "$rounds ${links[*]}" =~ ^[1-9][0-9]*(\ [0-9]+)+$ ]] || { usage >&2 && exit 2; }
for name in "${names[@]}"; do
  [ -n "${CASES[$name]:-}" ] || { echo "overlap.sh: there is no case '$name'" >&2 && usage >&2 && exit 2; }
done

build=${BUILD:-build/test}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
DLDIST_VSWITCH=$(readlink -f "$build/tests/vswitch") && export DLDIST_VSWITCH
sleeper=$(readlink -f "$build/tests/cluster_overlap")
dldist=$(readlink -f "${DLDIST:-$build/dldist}")
VC=$(mktemp -d)/cluster && export VC
vc() { bash tests/cluster/vc.sh "$@"; }
said=$(dirname "$VC")/said # by what failed
end() {
  [ $? = 0 ] || cat "$said" >&2
  vc down 2>/dev/null
  rm -rf "$(dirname "$VC")"
}
trap end EXIT
: >"$said"
vc up 2

# What is timed, OVERLAP(0|1) first: prints ms a step, and where it computes those of forward, backward and exchange.
sleeping() { vc mpirun -H n1:1,n2:1 "$sleeper" "$2" "$3" "$4" "$1" 2>"$said"; } # LAYERS FORWARD_MS BACKWARD_MS
computing() { # MODEL BATCH STEPS; the mean: work moves from step to step
  local overlap=false
  [ "$1" = 0 ] || overlap=true
  vc mpirun -H n1:1,n2:1 "$dldist" bench step --model "$2" --batch "$3" --steps "$4" --set "sync.overlap=$overlap" 2>"$said" |
    awk '/^step:/ { sub(/.* mean /, ""); step = $1 }
         /^mean of/ { gsub(",", ""); for (i = 7; i < NF; i += 2) phase[$i] = $(i + 1)
                      print step, phase["forward"], phase["backward"], phase["sync"] }'
}

# line NAME LINK: of the table. The fastest of each, by the first number.
line() {
  local off='' on='' words
  read -ra words <<<"${CASES[$1]}"
  for ((i = 0; i < rounds; i++)); do
    off+="$("${words[0]}" 0 "${words[@]:1}")"$'\n'
    on+="$("${words[0]}" 1 "${words[@]:1}")"$'\n'
  done
  off=$(sed '/^$/d' <<<"$off" | sort -g | head -n 1)
  on=$(sed '/^$/d' <<<"$on" | sort -g | head -n 1)
  awk -v name="$1" -v link="$2" -v off="$off" -v on="$on" 'BEGIN {
    split(off, a, " "); split(on, b, " ")
    printf "%-18s %9s %9.1f %9.1f %7.2f", name, link, a[1], b[1], a[1] / b[1]
    if (a[2] != "") printf " %9.1f %9.1f %9.1f", a[2], a[3], a[4]
    print ""
  }'
}
printf '%-18s %9s %9s %9s %7s %9s %9s %9s   (ms a step, fastest of %s; load %s)\n' case Mbit/s 'in turn' overlap ratio \
  forward backward exchange "$rounds" "$(cut -d' ' -f1 /proc/loadavg)"
for link in "${links[@]}"; do
  for host in n1 n2; do vc shape "$host" "$link" $((link ? 50 : 0)); done
  for name in "${names[@]}"; do line "$name" "$([ "$link" = 0 ] && echo none || echo "$link")"; done
done
