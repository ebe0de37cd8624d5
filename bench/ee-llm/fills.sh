#!/bin/sh
# docs/reports/ee-llm.md, "Bubble filling": four stages with and without fills. The first three runs learn
# nothing (their rate is all but 0), so that the mean of the squared gradient norm is that of the mean
# gradient plus the variance. The last two train, with the same seed and steps.
#
#   bench/ee-llm/fills.sh [FOLDER [SECTION.KEY=VALUE...]]
. "$(dirname "$0")/common.sh"
java_data

# staged NAME SETTING...: four stages, microbatches of one sequence.
staged() {
  name=$1
  shift
  learn_java "$name" --nproc=4 parallel.pp=4 train.micro_batch_size=1 train.threads=1 train.seed=1 "$@"
}

# still NAME SETTING...: the weights stay as they were drawn.
still() {
  name=$1
  shift
  staged "$name" optimizer.learning_rate=1e-12 optimizer.min_learning_rate=0 \
    optimizer.muon_learning_rate=1e-12 optimizer.clip_norm=0 train.eval_interval=0 "$@"
}
still still-4 train.steps=200 "$@"
still still-filled-4 train.steps=200 parallel.fill_warmup=2 parallel.fill_cooldown=2 "$@"
still still-32 train.steps=50 train.global_batch_size=32 "$@"
staged staged train.steps=200 "$@"
staged staged-filled train.steps=200 parallel.fill_warmup=2 parallel.fill_cooldown=2 "$@"
compare fills staged staged-filled
# E|g|^2 = |mean|^2 + variance / batch: two sizes of batches give both.
for run in still-4 still-filled-4 still-32; do
  sed -n 's/.*"grad_norm":\([0-9.Ee+-]*\).*/\1/p' "$work/$run/metrics.jsonl" |
    awk -v run="$run" '{ square += $1 * $1; n++ } END { print run, square / n, n }'
done | awk '
  { square[$1] = $2; print "mean of |g|^2,", $1 ":", $2, "(" $3 " steps)" }
  END {
    variance = (square["still-4"] - square["still-32"]) / (1 / 4 - 1 / 32)
    mean = square["still-4"] - variance / 4
    print "|mean|^2:", mean
    print "variance of a step of 4 sequences:", variance / 4, "with fills:", square["still-filled-4"] - mean
  }' | tee -a "$work/fills.md"
