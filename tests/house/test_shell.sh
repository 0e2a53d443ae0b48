#!/usr/bin/env bash
# The scripts of the tree: shellcheck finds nothing, all stop at errors, and those a user starts answer --help.
# Usage: tests/house/test_shell.sh [--help]
set -euo pipefail
case ${1:-} in -h | --help) awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

failed=0
blame() {
  printf '%s\n' "$*"
  failed=1
}

mapfile -t scripts < <(grep -lrE '^#!.*\b(ba)?sh\b|^# shellcheck shell=' launchers tests benchmarks .ci share examples 2>/dev/null | sort)
[ ${#scripts[@]} -ge 5 ] || blame "only ${#scripts[@]} scripts found: ${scripts[*]}"

for script in "${scripts[@]}"; do
  bash -n "$script" || blame "$script: not a script"
  head -n 1 "$script" | grep -q '^# shellcheck shell=' && continue # meant to be sourced
  grep -q '^set -euo pipefail$' "$script" || blame "$script: no 'set -euo pipefail'"
  [ -x "$script" ] || [[ $script == tests/* || $script == *.sbatch ]] || blame "$script: not executable"
done
for script in launchers/*; do
  case $script in *.sh | launchers/slurm) continue ;; esac
  help=$("$script" --help) || blame "$script --help: exit code $?"
  [[ $help == *"Usage: $script"* ]] || blame "$script --help does not say how it is used"
done

if command -v shellcheck >/dev/null; then
  shellcheck -x "${scripts[@]}" || failed=1
else
  echo 'shellcheck is not installed: its part is skipped'
fi
exit "$failed"
