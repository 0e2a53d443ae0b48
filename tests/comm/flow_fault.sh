#!/usr/bin/env bash
# An error of MPI in a step on several nodes ends the job with one message and exit code 4, at any shape of the cluster: in the meeting
# of all, and while gradients or weights are on their way, also where others of the node wait for the same weights. Needs FLOW_FAULT,
# the program beside.
# Usage: tests/comm/flow_fault.sh [--help]
set -euo pipefail
case ${1:-} in -h | --help) awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0" && exit ;; esac
said=$(mktemp)
trap 'rm -f "$said"' EXIT

# fails NODES PROCESSES THREADS PROCESS PHASE CALL: in that process, or in all of them (-1); who waited in vain would have said so after 60 s.
fails() {
  local code=0 rank=$(($4 < 0 ? 0 : $4 * $3))
  DLDIST_NODES=$1 timeout 120 mpirun -q -n "$2" "$FLOW_FAULT" "$3" "$4" "$5" "$6" 2>"$said" || code=$?
  if [ "$code" != 4 ] || [ "$(grep -c '^dldist: ' "$said")" != 1 ] ||
    ! grep -q "^dldist: messages failed at rank $rank on .* in step 3, phase $5: $6 failed: ." "$said"; then
    echo "nodes $1, $2 processes of $3 threads, $6: exit code $code, wanted 4 and one message of rank $rank; said:"
    cat "$said"
    exit 1
  fi
}
fails 2,2 4 1 3 weights MPI_Testsome
fails 1,2 3 1 1 weights MPI_Isend
fails 1,1 2 2 0 gradients MPI_Testsome
fails 1,2 3 1 2 verdict MPI_Iallgather
fails 1,2 3 1 -1 verdict MPI_Iallgather
