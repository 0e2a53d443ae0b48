#!/usr/bin/env bash
# A cluster on one machine: hosts n1 .. nN, each with its own network, host name, process numbers and /dev/shm, and a head n0
# that sees the machine's processes, so that mpirun on it can start others. The file system is shared; the hosts' only link
# is a switch (vswitch.c), so no traffic leaves. For root. State is in the folder $VC; $DLDIST_VSWITCH is the switch.
#
# Usage: tests/cluster/vc.sh up N                        hosts n0 .. nN
#        tests/cluster/vc.sh exec HOST COMMAND...        on HOST, in the present folder
#        tests/cluster/vc.sh mpirun ARGUMENTS...         mpirun on n0: -H n1:2,n2:2
#        tests/cluster/vc.sh shape HOST RATE_MBIT DELAY_US   of its link (0: none)
#        tests/cluster/vc.sh cut|heal HOST               pulls its plug, puts it back
#        tests/cluster/vc.sh down                        ends all, removes all
set -euo pipefail
state=${VC:?is not set: the folder of the cluster}
network=10.77.0

inner() { cat "$state/$1.pid"; } # process 1 of a host, as seen from outside
enter() { nsenter -t "$(inner "$1")" -a --wdns="$PWD" "${@:2}"; }

# gone PID...: ended, or a zombie that nobody fetches.
gone() {
  local pid
  for pid in "$@"; do
    [ "$(sed 's/.*) //; s/ .*//' "/proc/$pid/stat" 2>/dev/null || echo Z)" = Z ] || return 1
  done
}

# until_true COMMAND...: for five seconds.
until_true() {
  local tries
  for ((tries = 0; tries < 250; tries++)); do
    "$@" && return 0
    sleep 0.02
  done
  return 1
}

# What a host does first: its name, its own /dev/shm, a network without the machine's congestion control, and then nothing.
be_host() {
  hostname "$1"
  mount --bind "$state/hosts" /etc/hosts
  mount -t tmpfs -o mode=1777 tmpfs /dev/shm
  ip link set lo up
  sysctl -qw net.ipv4.tcp_congestion_control=cubic 2>/dev/null || sysctl -qw net.ipv4.tcp_congestion_control=reno
  touch "$state/$1.ready"
  trap 'kill 0' TERM
  while :; do
    sleep 86400 &
    wait $!
  done
}

start_host() {
  local own=(-n -u -i -m)
  [ "$1" = n0 ] || own+=(-p --fork --kill-child --mount-proc)
  setsid unshare "${own[@]}" bash "$0" be_host "$1" </dev/null >"$state/$1.log" 2>&1 &
  echo $! >"$state/$1.outer"
}

find_host() {
  local outer
  until_true test -e "$state/$1.ready"
  outer=$(cat "$state/$1.outer")
  if [ "$1" = n0 ]; then echo "$outer"; else cut -d' ' -f1 "/proc/$outer/task/$outer/children"; fi >"$state/$1.pid"
}

# The agent that starts mpirun's daemons: AGENT HOST COMMAND..., on n0.
write_agent() {
  cat >"$state/agent" <<AGENT
#!/usr/bin/env bash
host=\$1
shift
exec nsenter -t "\$(cat "$state/\$host.pid")" -a --wdns="\$PWD" sh -c "\$*"
AGENT
  chmod +x "$state/agent"
}

up() {
  local number ports=()
  mkdir -p "$state"
  : >"$state/ports"
  { echo '127.0.0.1 localhost' && for ((number = 0; number <= $1; number++)); do echo "$network.$((number + 1)) n$number"; done; } \
    >"$state/hosts"
  for ((number = 0; number <= $1; number++)); do start_host "n$number"; done
  for ((number = 0; number <= $1; number++)); do
    find_host "n$number"
    ports+=("n$number:$(inner "n$number")")
  done
  setsid "${DLDIST_VSWITCH:?is not set: the switch}" "$state/ports" "${ports[@]}" </dev/null >"$state/vswitch.log" 2>&1 &
  echo $! >"$state/vswitch.pid"
  until_true grep -q ready "$state/vswitch.log"
  for ((number = 0; number <= $1; number++)); do
    enter "n$number" ip addr add "$network.$((number + 1))/24" dev eth0
    enter "n$number" ip link set eth0 up
  done
  write_agent
}

# set_port HOST DELAY_US RATE_MBIT UP
set_port() {
  { grep -v "^$1 " "$state/ports" || true; } >"$state/ports.new"
  echo "$*" >>"$state/ports.new"
  mv "$state/ports.new" "$state/ports"
  kill -HUP "$(cat "$state/vswitch.pid")"
}

run_mpi() {
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  exec nsenter -t "$(inner n0)" -a --wdns="$PWD" mpirun --mca plm rsh --mca plm_rsh_agent "$state/agent" \
    --bind-to none --mca mpi_yield_when_idle 1 --mca orte_tmpdir_base /dev/shm \
    --mca btl_tcp_if_include eth0 --mca oob_tcp_if_include eth0 "$@"
}

down() {
  local file pid pids=()
  for file in "$state"/n*.pid "$state"/n*.outer "$state/vswitch.pid"; do
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    pids+=("$pid")
    kill -9 -- "$pid" 2>/dev/null || true
  done
  until_true gone "${pids[@]}" || echo "vc.sh: still there: ${pids[*]}" >&2
  rm -rf "$state"
}

command=${1:-help}
shift || true
case $command in
  up) up "$@" ;;
  be_host) be_host "$@" ;;
  exec) enter "$@" ;;
  mpirun) run_mpi "$@" ;;
  shape) set_port "$1" "${3:-0}" "$2" 1 ;;
  cut) set_port "$1" 0 0 0 ;;
  heal) set_port "$1" 0 0 1 ;;
  down) down ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
