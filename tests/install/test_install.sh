#!/usr/bin/env bash
# What `cmake --install` puts down is whole: the program with its demo data and man page, and the library, found by
# pkg-config and by find_package, used by programs in C, C++ and Fortran, alone and under mpirun.
# Usage: tests/install/test_install.sh    (by ctest)
set -euo pipefail
# shellcheck source=tests/cli/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"
build=${DLDIST_BUILD:?}
sources=$DLDIST_SOURCE

say '== installing'
cmake --install "$build" --prefix "$work/first" >log 2>&1 || { cat log && exit 1; }
# Moved afterwards: nothing that was installed may know where it was.
mv first prefix
prefix=$work/prefix
libdir=$(dirname "$(find "$prefix" -name libdldist.so)")
for file in bin/dldist include/dldist/dldist.h include/dldist/dldist_mpi.h include/dldist/status.h include/dldist/dldist.f90 \
  share/dldist/digits.h5 share/man/man1/dldist.1; do
  holds "$file is there" test -s "$prefix/$file"
done
for file in libdldist.so libdldist.a pkgconfig/dldist.pc cmake/dldist/dldistConfig.cmake cmake/dldist/dldistConfigVersion.cmake; do
  holds "$file is there" test -s "$libdir/$file"
done
check 'the library shows its interface alone' '' "$(nm -D --defined-only "$libdir/libdldist.so" | awk '{ print $3 }' |
  grep -v -x -E 'dl_(version|last_error|context_[a-z]*|context_open_(over|fortran)|network_[a-z0-9_]*|train_config)' || true)"
mkdir demo
(cd demo && env -u DLDIST_SHARE "$prefix/bin/dldist" train --quiet --run run >/dev/null) || failed=1
check 'the installed demo trains on the installed digits' "file: $prefix/share/dldist/digits.h5" \
  "$(grep -o 'file: [^,]*' demo/run/config.yaml)"
if command -v man >/dev/null; then
  check 'the man page has no fault' '' "$(man --warnings -l -Tutf8 "$prefix/share/man/man1/dldist.1" 2>&1 >/dev/null)"
fi

say '== compiling'
export PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir
check 'pkg-config knows the version' "$("$prefix/bin/dldist" --version | cut -d' ' -f2)" "$(pkg-config --modversion dldist)"
read -ra flags < <(pkg-config --cflags dldist)
read -ra libs < <(pkg-config --libs dldist)
# The shared library goes before the archive wherever -ldldist is said: the archive is named by its file.
read -ra static < <(pkg-config --static --libs dldist | sed 's/-ldldist /-l:libdldist.a /')
strict=(-Wall -Wextra -Wpedantic -Werror)
mkdir by-pkg-config && cd by-pkg-config
compile() {
  local sentence=$1
  shift
  if ! "$@" >log 2>&1; then
    say "FAILED: $sentence"
    cat log
    failed=1
  fi
}
compile 'C' cc -std=c99 "${strict[@]}" "$sources/examples/c/train_arrays.c" "${flags[@]}" "${libs[@]}" -o c
compile 'C with the archive' cc "$sources/examples/c/train_arrays.c" "${flags[@]}" "${static[@]}" -o c_static
compile 'C with MPI' mpicc "${strict[@]}" "$sources/tests/install/embed.c" "${flags[@]}" "${libs[@]}" -o embed
compile 'C++' c++ -std=c++11 "${strict[@]}" "$sources/examples/cpp/train_arrays.cpp" "${flags[@]}" "${libs[@]}" -o cpp
compile 'Fortran' mpifort -std=f2008 "$(pkg-config --variable=includedir dldist)/dldist/dldist.f90" \
  "$sources/examples/fortran/train_arrays.f90" "${libs[@]}" -o fortran
cd ..
if ! cmake -S "$sources/tests/install/consumer" -B by-find-package -DCMAKE_PREFIX_PATH="$prefix" \
  -DEXAMPLES="$sources/examples" -DCMAKE_BUILD_TYPE=Release >log 2>&1 || ! cmake --build by-find-package >>log 2>&1; then
  say 'FAILED: find_package'
  cat log
  failed=1
fi

say '== running'
# output COMMAND...: what it prints; a failure is said.
output() { timeout 60 "$@" 2>err || echo "exit code $? $(cat err)"; }
export LD_LIBRARY_PATH=$libdir
expected=$(output by-pkg-config/c)
say "$expected"
check 'the example says three lines' 'accuracy inside weights' "$(awk '{ print $1 }' <<<"$expected" | xargs)"
holds 'and has learnt the disk' awk "BEGIN { exit !($(awk '$1 == "accuracy" { print $2 }' <<<"$expected") > 0.97) }"
holds 'within and without' awk "$(sed -n 's/.*middle \([0-9.]*\), a corner \([0-9.]*\)/BEGIN { exit !(\1 > 0.9 \&\& \2 < 0.1) }/p' <<<"$expected")"
for way in by-pkg-config by-find-package; do
  for program in c c_static cpp fortran; do
    check "$way: $program gives the same weights and scores alone" "$expected" "$(output "$way/$program")"
    check "$way: $program gives them on 2 ranks" "$expected" "$(output mpirun -np 2 "$way/$program")"
  done
done
tokens=$(output by-find-package/tokens)
contains 'the example over tokens has learnt to count' 'after 5 comes 6' <(printf '%s\n' "$tokens")
check 'with the same weights on 3 ranks' "$tokens" "$(output mpirun -np 3 by-find-package/tokens)"
check 'and on 5' "$expected" "$(output mpirun -np 5 by-pkg-config/c)"

run alone train "$sources/examples/digits.yaml" --run digits --set train.epochs=4 --set "data.file=$DIGITS" --quiet
sed "s|file: .*|file: \"$DIGITS\"|; s/epochs: 20/epochs: 4/" "$sources/examples/digits.yaml" >digits.yaml
line=''
for way in by-pkg-config by-find-package; do
  for ranks in 0 2 3; do
    launch=()
    [ "$ranks" = 0 ] || launch=(mpirun -np "$ranks")
    output "${launch[@]}" "$way/embed" digits.yaml "embed-$way-$ranks" >out
    [ -n "$line" ] || line=$(grep '^line ' out)
    check "$way: a program with MPI of its own, $ranks ranks (0: alone), trains on arrays and from a file" \
      "${line:-line}|run $(end_of digits weights_sha256)" "$(tr '\n' '|' <out | sed 's/|$//')"
    check 'its run folder is one of dldist' completed "$(end_of "embed-$way-$ranks/run" status)"
    run alone inspect "embed-$way-$ranks/saved/latest" --json
    check 'and what it saved is a checkpoint' "${line#line }" "$(field weights_sha256 out)"
  done
done

finish
