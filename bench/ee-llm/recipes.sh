#!/bin/sh
# docs/reports/recipes.md: how the quickstart's model is best trained. A row changes some of its settings, and
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
    "data.tokenizer=$work/java-tokenizer" train.eval_interval=100 train.eval_batches=64 \
    optimizer.schedule=cosine "$@"
}

# What a row changes in configs/quickstart.yaml with a cosine schedule.
changes() {
  case $1 in
    base) ;;
    adamw) echo optimizer.algorithm=adamw optimizer.learning_rate=2e-3 optimizer.muon_learning_rate=0 ;;
    rates-double) echo optimizer.learning_rate=16e-3 optimizer.muon_learning_rate=8e-3 ;;
    qk-norm) echo model.qk_norm=true ;;
    qk-norm-rates-double) echo model.qk_norm=true optimizer.learning_rate=16e-3 optimizer.muon_learning_rate=8e-3 ;;
    qk-norm-matrices-half-more) echo model.qk_norm=true optimizer.muon_learning_rate=6e-3 ;;
    documents) echo data.attend_across_documents=false ;;
    qk-norm-documents) echo model.qk_norm=true data.attend_across_documents=false ;;
    wsd) echo optimizer.schedule=wsd optimizer.stable_share=0.6 ;;
    wsd-longer-fall) echo optimizer.schedule=wsd optimizer.stable_share=0.4 ;;
    wsd-short) echo optimizer.schedule=wsd optimizer.stable_share=0.6 train.steps=300 ;;
    qk-norm-wsd) echo model.qk_norm=true optimizer.schedule=wsd optimizer.stable_share=0.6 ;;
    qk-norm-wsd-short) echo model.qk_norm=true optimizer.schedule=wsd optimizer.stable_share=0.6 train.steps=300 ;;
    distillation-0) echo exits.distillation=0 ;;
    distillation-1) echo exits.distillation=1 ;;
    distillation-4) echo exits.distillation=4 ;;
    weights-high) echo exits.weights=[0.5,0.5] ;;
    mlp-heads) echo exits.head=[norm,mlp] ;;
    wsd-mlp-heads) echo optimizer.schedule=wsd optimizer.stable_share=0.6 exits.head=[norm,mlp] ;;
    layer-dropout) echo train.layer_dropout=0.1 train.layer_dropout_curriculum=constant ;;
    *) echo "recipes.sh: no row is called $1" >&2 && exit 2 ;;
  esac
}

rows=${ROWS:-base rates-double qk-norm qk-norm-rates-double qk-norm-matrices-half-more documents \
  qk-norm-documents wsd wsd-longer-fall qk-norm-wsd distillation-0 distillation-1 distillation-4 \
  weights-high mlp-heads wsd-mlp-heads layer-dropout adamw wsd-short qk-norm-wsd-short}
set -f # [0.5,0.5] is no pattern of files
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
