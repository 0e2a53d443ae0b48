#!/usr/bin/env bash
# loader.sh - training batches out of HDF5 files in the page cache: dldist on one rank against h5py, in one run.
#
# usage: benchmarks/loader.sh [ROUNDS]       rounds of each measurement, interleaved (default 5); the best of the rounds is reported
#
# Files of 300,000 rows of 784 bytes (235 MB), in chunks of 256 rows. GB/s count bytes of x (u8); four times as many are written
# as floats. Needs python3-h5py (Debian) and 1 GB in TMPDIR. Where something else runs the load is printed.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
rounds=${1:-5}
dldist=${DLDIST:-build/release/dldist}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

ours() { # file order
  "$dldist" bench loader --data "$folder/$1.h5" --epochs 4 --set data.shuffle="$2" | sed -n 's/^loader: \([0-9.]*\) GB.*/\1/p'
}
best() { sort -g | tail -n 1; }

/usr/bin/python3 benchmarks/peers/h5py_loader.py make "$folder"
printf 'load %s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
printf '%-12s %8s %8s %16s %16s %14s   (GB/s of x)\n' file lanes full 'h5py, random' 'h5py, whole' 'chunks alone'
for file in contiguous chunks fletcher32 deflate1; do
  : >"$folder/lanes" && : >"$folder/full" && : >"$folder/peer"
  for ((i = 0; i < rounds; i++)); do
    ours "$file" lanes >>"$folder/lanes"
    ours "$file" full >>"$folder/full"
    /usr/bin/python3 benchmarks/peers/h5py_loader.py read "$folder/$file.h5" >>"$folder/peer"
  done
  printf '%-12s %8s %8s %16s %16s %14s\n' "$file" "$(best <"$folder/lanes")" "$(best <"$folder/full")" \
    "$(cut -d' ' -f1 "$folder/peer" | best)" "$(cut -d' ' -f2 "$folder/peer" | best)" "$(cut -d' ' -f3 "$folder/peer" | best)"
done
printf 'load %s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
