#!/bin/sh
# docs/reports/planner.md, all but the plans of measured runs: what eellm plan says of EE-LLM's models with
# exits and fills, of 70 and 405 billion parameters, of Meta's own mesh and of tuning. It is arithmetic: any
# machine gives the same.
#
#   bench/plans.sh [FOLDER]
set -eu
cd "$(dirname "$0")/.."
work=${1:-target/plans}
eellm=${EELLM:-./eellm}
mkdir -p "$work"

# plan NAME OPTION...: a plan into a file of that name, which also says what does not fit.
plan() {
  name=$1
  shift
  "$eellm" plan "$@" > "$work/$name.txt" 2>&1 || echo "$name: $(tail -n 1 "$work/$name.txt")"
}

for model in "1.3b 1 false" "7b 1 false" "13b 2 true" "30b 4 true"; do
  # shellcheck disable=SC2086 # words
  set -- $model
  common="--config configs/ee-llm-$1.yaml --hardware a100-80gb --devices 64 --set parallel.tp=$2 --set parallel.pp=4
    --set parallel.sequence_parallel=$3 --set train.recompute=selective --set model.attention_dropout=0"
  for behind in false true; do
    # shellcheck disable=SC2086
    plan "exits-$1-$behind" $common --set parallel.pre_exit=$behind
  done
  micro=$(sed -n 's/^  micro_batch_size: //p' "configs/ee-llm-$1.yaml")
  for microbatches in 16 64; do
    batch=$((microbatches * micro * 16 / $2))
    # shellcheck disable=SC2086
    plan "unfilled-$1-$microbatches" $common --set train.global_batch_size=$batch
    # shellcheck disable=SC2086
    plan "filled-$1-$microbatches" $common --set train.global_batch_size=$batch --set parallel.fill_warmup=-1 \
      --set parallel.fill_cooldown=-1
  done
done

for recompute in selective full; do
  plan "meta-$recompute" --config configs/llama-405b.yaml --hardware h100-80gb --devices 16384 --set parallel.tp=8 \
    --set parallel.pp=16 --set parallel.sequence_parallel=true --set parallel.chunks=4 --set train.recompute=$recompute \
    --set "exits.layers=[]" --set "exits.weights=[]" --set exits.tie_output=true
done

for model in "7b 8" "13b 10" "70b 20"; do
  # shellcheck disable=SC2086
  set -- $model
  for hardware in rtx4090-24gb a100-80gb; do
    for target in text final_head; do
      plan "tune-$1-two-$target-$hardware" --config "configs/tune-llama-$1.yaml" --set "tune.model=llama-$1-exits" \
        --hardware $hardware --set tune.target=$target
    done
    plan "tune-$1-one-text-$hardware" --config "configs/tune-llama-$1.yaml" --set "tune.model=llama-$1-exits" \
      --hardware $hardware --set "exits.layers=[$2]" --set "exits.weights=[1]"
  done
done

for model in 70b 405b; do
  for hardware in h100-80gb a100-80gb; do
    for devices in 512 2048 16384; do
      plan "search-$model-$hardware-$devices" --config configs/llama-$model.yaml --hardware $hardware --devices $devices --search
      plan "search-$model-$hardware-$devices-no-exits" --config configs/llama-$model.yaml --hardware $hardware \
        --devices $devices --search --set "exits.layers=[]" --set "exits.weights=[]" --set exits.tie_output=true
    done
  done
done
