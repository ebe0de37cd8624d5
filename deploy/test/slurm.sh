#!/usr/bin/env bash
# Runs a job of two ranks under Slurm on this machine: starts a cluster of its own with two nodes
# (127.0.0.1 and 127.0.0.2), submits a batch job with one rank a node, and ends the cluster again.
#
#   deploy/test/slurm.sh [COMMAND...]     default: eellm ranks --tp 2
#   deploy/test/slurm.sh ./eellm ranks --nproc 2 --tp 4     two ranks a node
#
# See slurm-cluster.sh for what it needs.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
eellm=${EELLM:-$root/eellm}
[ $# -gt 0 ] || set -- "$eellm" ranks --tp 2 --timeout 120
"$eellm" --version >&2 # Builds now, if at all, and not once a rank.
. "$root/deploy/test/slurm-cluster.sh"

# The batch script is deploy/slurm's own.
sbatch --wait --nodes 2 --ntasks-per-node 1 --cpus-per-task 1 --output "$work/job.out" \
  "$root/deploy/slurm/job.sbatch" "$@" || {
  cat "$work/job.out" >&2
  exit 1
}
cat "$work/job.out"
