#!/bin/sh
# docs/reports/ee-llm.md, "Ablations": number, places, heads and weights of the exits, one run each, beside
# two of the runs that bench/ee-llm/convergence.sh trains.
#
#   bench/ee-llm/ablations.sh [FOLDER [SECTION.KEY=VALUE...]]
. "$(dirname "$0")/common.sh"
java_data
learn_java none-seed1 train.seed=1 'exits.layers=[]' 'exits.weights=[]' "$@"
learn_java exits-seed1 train.seed=1 "$@"
learn_java one-exit-seed1 train.seed=1 'exits.layers=[8]' 'exits.weights=[0.5]' "$@"
learn_java three-exits-seed1 train.seed=1 'exits.layers=[4,8,12]' 'exits.weights=[0.25,0.5,0.75]' "$@"
learn_java early-places-seed1 train.seed=1 'exits.layers=[2,4]' "$@"
learn_java heavy-weights-seed1 train.seed=1 'exits.weights=[1,1]' "$@"
learn_java mlp-heads-seed1 train.seed=1 'exits.head=[norm,mlp]' "$@"
learn_java own-matrices-seed1 train.seed=1 exits.tie_output=false "$@"
learn_java distilled-seed1 train.seed=1 exits.distillation=2 "$@"
compare ablations none-seed1 exits-seed1 one-exit-seed1 three-exits-seed1 early-places-seed1 \
  heavy-weights-seed1 mlp-heads-seed1 own-matrices-seed1 distilled-seed1
