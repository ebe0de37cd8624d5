#!/usr/bin/env bash
# Prepares files as a job array under Slurm on this machine, twice, joins the shards, and compares
# them with what one process makes of the files.
#
#   deploy/test/slurm-prepare.sh
#
# See slurm-cluster.sh for what it needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
./eellm --version >&2 # Builds now, if at all, and not once a task.
. deploy/test/slurm-cluster.sh

for i in 0 1 2 3 4; do
  for word in $(seq $((i + 1)) 400); do echo "line $word of file $i"; done >"$work/text$i.txt"
done
files=("$work"/text?.txt)
./eellm prepare --input "${files[@]}" --output "$work/sample" --vocab-size 300
for _ in 1 2; do # The second time all is there.
  sbatch --wait --array 0-1 --output "$work/job-%a.out" deploy/slurm/prepare.sbatch \
    "$work/sample-tokenizer" "$work/shard" "${files[@]}" || {
    cat "$work"/job-*.out >&2
    exit 1
  }
done
cat "$work"/job-*.out
./eellm merge --input $(ls "$work"/shard-*.idx | sed 's/\.idx$//') --output "$work/joined"
./eellm prepare --input "${files[0]}" "${files[2]}" "${files[4]}" "${files[1]}" "${files[3]}" \
  --output "$work/whole" --tokenizer "$work/sample-tokenizer"
cmp "$work/joined.bin" "$work/whole.bin"
cmp "$work/joined.idx" "$work/whole.idx"
