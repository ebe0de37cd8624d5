# shellcheck shell=bash
# A run of two replicas that learns sums, in $work/run.yaml, for $steps steps; sourced by other tests,
# which set $eellm, $work and $steps.

for i in $(seq 500); do echo "$i times 3 is $((i * 3)), and $i plus 7 is $((i + 7))."; done \
  >"$work/sums.txt"
"$eellm" prepare --input "$work/sums.txt" --output "$work/sums" --tokenizer train --vocab-size 300 >&2
cat >"$work/run.yaml" <<CONFIGURATION
model: {hidden_size: 16, num_layers: 2, num_heads: 2, max_positions: 16}
exits: {layers: [1], weights: [0.25]}
data: {sources: [$work/sums], tokenizer: $work/sums-tokenizer, sequence_length: 16, split: [90, 10, 0]}
train: {steps: $steps, micro_batch_size: 2, global_batch_size: 4, threads: 1}
optimizer: {learning_rate: 3e-3, warmup_steps: $((steps / 2))}
parallel: {dp: 2}
checkpoint: {interval: 10}
CONFIGURATION
