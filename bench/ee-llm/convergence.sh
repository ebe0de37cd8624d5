#!/bin/sh
# docs/reports/ee-llm.md, "Convergence": one model without exits and with two, three seeds each, and with each
# of EE-LLM's ways to weigh their losses. Nine runs of 600 steps.
#
#   bench/ee-llm/convergence.sh [FOLDER [SECTION.KEY=VALUE...]]
. "$(dirname "$0")/common.sh"
java_data
for seed in 1 2 3; do
  learn_java "none-seed$seed" "train.seed=$seed" 'exits.layers=[]' 'exits.weights=[]' "$@"
  learn_java "exits-seed$seed" "train.seed=$seed" "$@"
done
learn_java warmup-seed1 train.seed=1 exits.curriculum=linear exits.curriculum_steps=300 "$@"
learn_java cooldown-seed1 train.seed=1 exits.curriculum=linear exits.curriculum_steps=300 \
  'exits.initial_weights=[0.5,1]' 'exits.weights=[0.05,0.1]' "$@"
learn_java dynamic-seed1 train.seed=1 exits.dynamic_token_weights=true "$@"
compare convergence none-seed1 none-seed2 none-seed3 exits-seed1 exits-seed2 exits-seed3
compare weights none-seed1 exits-seed1 warmup-seed1 cooldown-seed1 dynamic-seed1
