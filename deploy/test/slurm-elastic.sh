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

for i in $(seq 500); do echo "$i times 3 is $((i * 3)), and $i plus 7 is $((i + 7))."; done \
  >"$work/sums.txt"
"$eellm" prepare --input "$work/sums.txt" --output "$work/sums" --tokenizer train --vocab-size 300 >&2
cat >"$work/run.yaml" <<CONFIGURATION
model: {hidden_size: 16, num_layers: 2, num_heads: 2, max_positions: 16}
exits: {layers: [1], weights: [0.25]}
data: {sources: [$work/sums], tokenizer: $work/sums-tokenizer, sequence_length: 16, split: [90, 10, 0]}
train: {steps: 100, micro_batch_size: 2, global_batch_size: 4, threads: 1}
optimizer: {learning_rate: 3e-3, warmup_steps: 20}
parallel: {dp: 2}
checkpoint: {interval: 10}
CONFIGURATION
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
