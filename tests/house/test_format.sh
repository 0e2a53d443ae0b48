#!/usr/bin/env bash
# The tree is formatted as .clang-format says. Other versions of clang-format than 14 lay out some lines differently, so
# only that one is asked; without it the test says so and passes.
# Usage: tests/house/test_format.sh [--fix]
set -euo pipefail
case ${1:-} in -h | --help) awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

format=
for candidate in clang-format-14 clang-format; do
  if "$candidate" --version 2>/dev/null | grep -q 'version 14\.'; then format=$candidate && break; fi
done
if [ -z "$format" ]; then
  echo 'clang-format 14 is not installed'
  exit 0
fi
mapfile -t files < <(find src include tests examples benchmarks -name '*.[ch]' 2>/dev/null | sort)
if [ "${1:-}" = --fix ]; then
  exec "$format" -i "${files[@]}"
fi
"$format" --dry-run --Werror --ferror-limit=3 "${files[@]}"
