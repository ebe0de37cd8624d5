#!/bin/sh
# docs/recipes.md: how the quickstart's model is best trained. A row changes some of its settings, and
# is one run a seed; runs of a seed see the same text. The table has the losses on a library that is
# held out, and how often exits agree with the final head.
#
#   bench/ee-llm/recipes.sh [FOLDER [SECTION.KEY=VALUE...]]
#
# ROWS="base qk-norm" makes these rows alone, and SEEDS="1 2 3" each with these seeds.
. "$(dirname "$0")/common.sh"
java_data

# recipe NAME ARGUMENT...
recipe() {
  name=$1
  shift
  learn train "$name" configs/quickstart.yaml "data.sources=[$work/java]" "data.validation=[$work/held-out]" \
    "data.tokenizer=$work/java-tokenizer" train.eval_interval=100 train.eval_batches=64 "$@"
}

# What a row changes in configs/quickstart.yaml.
changes() {
  case $1 in
    base) ;;
    rates-double) echo optimizer.learning_rate=16e-3 optimizer.muon_learning_rate=8e-3 ;;
    qk-norm) echo model.qk_norm=true ;;
    qk-norm-rates-double) echo model.qk_norm=true optimizer.learning_rate=16e-3 optimizer.muon_learning_rate=8e-3 ;;
    qk-norm-matrices-half-more) echo model.qk_norm=true optimizer.muon_learning_rate=6e-3 ;;
    documents) echo data.attend_across_documents=false ;;
    qk-norm-documents) echo model.qk_norm=true data.attend_across_documents=false ;;
    wsd) echo optimizer.schedule=wsd optimizer.stable_share=0.6 ;;
    wider) echo model.hidden_size=256 model.num_layers=12 model.num_heads=4 train.steps=500 ;;
    thinner) echo model.hidden_size=160 model.num_layers=24 model.num_heads=5 model.head_dim=32 ;;
    distillation-0) echo exits.distillation=0 ;;
    distillation-1) echo exits.distillation=1 ;;
    distillation-4) echo exits.distillation=4 ;;
    distillation-late) echo exits.distillation_start=300 ;;
    weights-low) echo exits.weights=[0.1,0.1] ;;
    weights-high) echo exits.weights=[0.5,0.5] ;;
    weights-1) echo exits.weights=[1,1] ;;
    exit-2) echo exits.layers=[2] exits.weights=[0.25] ;;
    exit-4) echo exits.layers=[4] exits.weights=[0.25] ;;
    exits-4-8) echo exits.layers=[4,8] ;;
    exits-1-3) echo exits.layers=[1,3] ;;
    mlp-heads) echo exits.head=[norm,mlp] ;;
    block-heads) echo exits.head=[norm,block] ;;
    own-matrices) echo exits.tie_output=false ;;
    layer-dropout) echo train.layer_dropout=0.1 ;;
    layer-dropout-more) echo train.layer_dropout=0.3 ;;
    gradual) echo exits.curriculum=gradual exits.curriculum_steps=300 ;;
    rotational) echo exits.curriculum=rotational exits.curriculum_steps=600 ;;
    *) echo "recipes.sh: no row is called $1" >&2 && exit 2 ;;
  esac
}

rows=${ROWS:-base rates-double qk-norm qk-norm-rates-double qk-norm-matrices-half-more documents \
  qk-norm-documents wsd wider thinner distillation-0 distillation-1 distillation-4 distillation-late \
  weights-low weights-high weights-1 exit-2 exit-4 exits-4-8 exits-1-3 mlp-heads block-heads \
  own-matrices layer-dropout layer-dropout-more gradual rotational}
runs=
for row in $rows; do
  settings=$(changes "$row") || exit 2
  for seed in ${SEEDS:-1}; do
    # shellcheck disable=SC2086 # no setting has a space
    recipe "$row-seed$seed" "train.seed=$seed" $settings "$@"
    runs="$runs $row-seed$seed"
  done
done
# shellcheck disable=SC2086
compare recipes $runs
