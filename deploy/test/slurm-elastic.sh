#!/usr/bin/env bash
# Trains under Slurm on this machine, on two nodes of a cluster of its own, loses the second node
# amid the run, and checks that deploy/slurm/elastic.sbatch goes on with the first one alone.
#
#   deploy/test/slurm-elastic.sh
#
# See slurm-cluster.sh for what it needs.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
eellm=${EELLM:-$root/eellm}
"$eellm" --version >&2 # Builds now, if at all, and not once a rank.
. "$root/deploy/test/slurm-cluster.sh"

steps=100
. "$root/deploy/test/sums.sh"
PAUSE=20 sbatch --nodes 2 --ntasks-per-node 1 --cpus-per-task 1 --output "$work/job.out" \
  "$root/deploy/slurm/elastic.sbatch" "$eellm" train --config "$work/run.yaml" \
  --output "$work/run" --min-replicas 1 >&2

until grep -qs '"step":15,' "$work/run/metrics.jsonl"; do
  squeue --noheader | grep -q . || { cat "$work/job.out" >&2; exit 1; }
  sleep 0.2
done
# All that is on the second node ends at once.
lost=("$second")
for process in /proc/[0-9]*; do
  if grep -qzs '^SLURMD_NODENAME=127.0.0.2$' "$process/environ"; then
    parent=$(awk '$1 == "PPid:" { print $2 }' "$process/status")
    [[ $(cat "/proc/$parent/comm") != slurmstepd ]] || lost+=("$parent")
    lost+=("${process#/proc/}")
  fi
done
kill -9 "${lost[@]}" 2>/dev/null || true

while squeue --noheader | grep -q .; do sleep 0.5; done
cat "$work/job.out" >&2
grep -q 'on 1 nodes: 127.0.0.1' "$work/job.out"
grep 'all 100 steps are done' "$work/job.out"
