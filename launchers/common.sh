# shellcheck shell=bash
# What the launchers share: messages, Debian and Ubuntu packages, building, finding the program.
# Usage: source "$(dirname "${BASH_SOURCE[0]}")/common.sh"    (not run by itself)

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

# die CODE MESSAGE...
die() {
  local code=$1
  shift
  say "${0##*/}: $*"
  exit "$code"
}

# print_header FILE: the comment that FILE begins with, as its help text.
print_header() { awk 'NR > 1 && !/^#/ { exit } NR > 1 && !/^# shellcheck/ { sub(/^# ?/, ""); print }' "$1"; }

# ---- packages --------------------------------------------------------------------------------------------------------
# A package is named by alternatives, the first known one counts: "pkgconf|pkg-config". A leading ? means: not needed,
# taken where the distribution has it.

# shellcheck disable=SC2034 # read by who sources this
BUILD_PACKAGES=(gcc libc6-dev cmake ninja-build 'pkgconf|pkg-config' openmpi-bin libopenmpi-dev libopenblas-dev
  '?libdnnl-dev|?libonednn-dev' libhdf5-dev libfyaml-dev libjansson-dev libssl-dev zlib1g-dev libpng-dev
  'libjpeg62-turbo-dev|libjpeg-turbo8-dev|libjpeg-dev' libzmq3-dev libcunit1-dev)
# shellcheck disable=SC2034
TEST_PACKAGES=(g++ gfortran shellcheck util-linux procps iproute2)

is_installed() { [ "$(dpkg-query -W -f='${Status}' "$1" 2>/dev/null)" = 'install ok installed' ]; }

# True where apt could install it: virtual names and unknown ones have no candidate.
is_available() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'; }

# Sets `missing` to the packages (alternatives and all) that are not installed.
find_missing() {
  local package name
  missing=()
  for package in "$@"; do
    for name in ${package//|/ }; do
      if is_installed "${name#\?}"; then continue 2; fi
    done
    missing+=("$package")
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die 1 "missing packages: ${missing[*]}; install them as root, or install sudo"
  fi
}

# install_packages PACKAGE...: installs what is missing; asks nobody and touches no network where nothing is.
install_packages() {
  local missing package name wanted=() apt=(env DEBIAN_FRONTEND=noninteractive apt-get)
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "this is not Debian or Ubuntu: make sure that these are there: $*"
    return
  fi
  find_missing "$@"
  # What is only nice to have is not worth a network: a set of packages that lacks nothing else is complete.
  local needed=0
  for package in ${missing[@]+"${missing[@]}"}; do
    case $package in \?*) ;; *) needed=1 ;; esac
  done
  [ "$needed" = 1 ] || return 0
  say "installing packages: ${missing[*]}"
  as_root "${apt[@]}" update -qq || say 'apt-get update failed; going on with the package lists that are there'
  for package in "${missing[@]}"; do
    for name in ${package//|/ }; do
      if is_available "${name#\?}"; then
        wanted+=("${name#\?}")
        continue 2
      fi
    done
    case $package in \?*) say "not in this distribution, done without: ${package//\?/}" ;;
      *) die 1 "no package '$package' in this distribution's lists" ;;
    esac
  done
  as_root "${apt[@]}" install -y -qq --no-install-recommends "${wanted[@]}" >&2 ||
    die 1 "apt-get could not install: ${wanted[*]}"
}

# ---- building --------------------------------------------------------------------------------------------------------

# build_preset PRESET [TARGET...]: configures build/PRESET the first time, then builds what has changed. The compiler's
# output goes to a log, whose end is shown when something fails.
build_preset() {
  local preset=$1 log="$ROOT/build/$1.log" targets=() started=$SECONDS
  shift
  [ $# = 0 ] || targets=(--target "$@")
  mkdir -p "$ROOT/build"
  : >"$log"
  if [ ! -f "$ROOT/build/$preset/build.ninja" ]; then
    say "configuring build/$preset"
    (cd "$ROOT" && cmake --preset "$preset") >>"$log" 2>&1 || build_failed "$log" "configuring build/$preset"
  fi
  say "building build/$preset"
  (cd "$ROOT" && cmake --build "build/$preset" ${targets[@]+"${targets[@]}"}) >>"$log" 2>&1 ||
    build_failed "$log" "building build/$preset"
  say "built build/$preset in $((SECONDS - started)) s"
}

build_failed() {
  tail -n 60 "$1" >&2
  die 1 "$2 failed; all of it: $1"
}

# ---- the program -----------------------------------------------------------------------------------------------------

# Prints the dldist to run: $DLDIST, the release build, or the installed one.
find_dldist() {
  local candidate
  for candidate in "${DLDIST:-}" "$ROOT/build/release/dldist"; do
    if [ -n "$candidate" ] && [ -x "$candidate" ]; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  command -v dldist || die 1 "no dldist: build it first (launchers/demo does), or set DLDIST to the program"
}

# Physical cores that this process may use: two hardware threads of a core count once.
count_cores() {
  local allowed range cpu file found=()
  allowed=$(awk '/^Cpus_allowed_list:/ { print $2 }' /proc/self/status 2>/dev/null) || allowed=
  for range in ${allowed//,/ }; do
    for ((cpu = ${range%-*}; cpu <= ${range#*-}; cpu++)); do
      file=/sys/devices/system/cpu/cpu$cpu/topology/thread_siblings_list
      if [ -r "$file" ]; then found+=("$(<"$file")"); else found+=("$cpu"); fi
    done
  done
  if [ ${#found[@]} = 0 ]; then nproc; else printf '%s\n' "${found[@]}" | sort -u | wc -l; fi
}
