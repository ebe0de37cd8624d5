#!/bin/sh
# docs/reports/ee-llm.md, "Convergence", on English novels: the model of configs/novels-10m.yaml without exits and
# with two, trained as in the paper, by AdamW and without distillation; three seeds each, or those of
# SEEDS. NOVELS is a folder with train.txt.xz and valid.txt.xz; docs/reports/novels.md says which.
#
#   NOVELS=FOLDER [SEEDS="1 2 3"] bench/ee-llm/novels.sh [FOLDER [SECTION.KEY=VALUE...]]
. "$(dirname "$0")/common.sh"
novels=${NOVELS:?give a folder with train.txt.xz and valid.txt.xz}
if [ ! -e "$work/novels-held-out.idx" ]; then
  "$eellm" prepare --input "$novels/train.txt.xz" --output "$work/novels"
  "$eellm" prepare --input "$novels/valid.txt.xz" --output "$work/novels-held-out" --tokenizer "$work/novels-tokenizer"
fi

# learn_novels NAME SETTING...
learn_novels() {
  name=$1
  shift
  learn train "$name" configs/novels-10m.yaml "data.sources=[$work/novels]" "data.validation=[$work/novels-held-out]" \
    "data.tokenizer=$work/novels-tokenizer" train.steps=300 train.eval_interval=60 checkpoint.interval=100 \
    exits.distillation=0 optimizer.algorithm=adamw optimizer.learning_rate=1e-3 optimizer.muon_learning_rate=0 \
    optimizer.schedule=cosine optimizer.stable_share=0.8 optimizer.warmup_steps=40 "$@"
}
none=
exits=
for seed in ${SEEDS:-1 2 3}; do
  learn_novels "novels-none-seed$seed" "train.seed=$seed" 'exits.layers=[]' 'exits.weights=[]' "$@"
  learn_novels "novels-exits-seed$seed" "train.seed=$seed" 'exits.weights=[0.3, 0.3]' "$@"
  none="$none novels-none-seed$seed"
  exits="$exits novels-exits-seed$seed"
done
# shellcheck disable=SC2086 # several words each
compare novels $none $exits
