#!/bin/sh
# docs/reports/ee-llm.md, "EE-Tuning": exits for the model without any that bench/ee-llm/convergence.sh trains,
# learned in 150 steps: from the text or the final head, from copied or random heads, of norm alone or
# with an MLP; and with the trunk learning on as well, beside the trunk learning on alone.
#
#   bench/ee-llm/tuning.sh [FOLDER [SECTION.KEY=VALUE...]]
. "$(dirname "$0")/common.sh"
java_data
learn_java none-seed1 train.seed=1 'exits.layers=[]' 'exits.weights=[]' "$@"

# with_exits NAME OPTION...: the trained model with untrained exits.
with_exits() {
  name=$1
  shift
  [ -e "$work/$name" ] || "$eellm" add-exits --model "$work/none-seed1" --exits 4,8 --output "$work/$name" "$@"
}
with_exits copied --head norm --tie
with_exits random --head norm --tie --init random
with_exits copied-mlp --head norm,mlp --tie
with_exits own-matrix --head norm

cat > "$work/tune.yaml" <<END
data: {sources: ['$work/java'], validation: ['$work/held-out'], tokenizer: '$work/java-tokenizer', sequence_length: 256}
train: {steps: 150, micro_batch_size: 4, global_batch_size: 4, eval_interval: 30, eval_batches: 32}
optimizer: {learning_rate: 2e-3, min_learning_rate: 2e-4, warmup_steps: 10}
checkpoint: {interval: 50}
logging: {interval: 25}
END
learn tune tuned-text "$work/tune.yaml" "--model=$work/copied" "$@"
learn tune tuned-final-head "$work/tune.yaml" "--model=$work/copied" tune.target=final_head "$@"
learn tune tuned-random "$work/tune.yaml" "--model=$work/random" "$@"
learn tune tuned-mlp "$work/tune.yaml" "--model=$work/copied-mlp" "$@"
learn tune tuned-own-matrix "$work/tune.yaml" "--model=$work/own-matrix" "$@"
learn train trunk-too "$work/tune.yaml" "--model=$work/copied" 'exits.weights=[0.25,0.5]' "$@"
learn train trunk-alone "$work/tune.yaml" "--model=$work/none-seed1" "$@"
compare tuning trunk-alone trunk-too tuned-text tuned-final-head tuned-random tuned-mlp tuned-own-matrix
