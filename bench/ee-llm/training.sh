#!/bin/sh
# docs/reports/ee-llm.md, "Training efficiency": steps of the model with 0 to 3 exits on one rank and on two
# stages, with and without what EE-LLM does to make exits cheap; and more stages, simulated. It
# measures times: let nothing else run.
#
#   bench/ee-llm/training.sh [FOLDER]
. "$(dirname "$0")/common.sh"

# timed OPTION...: a step of 8 microbatches of one sequence.
timed() {
  "$eellm" bench train --config configs/java-8m.yaml --rounds "${ROUNDS:-9}" --set train.threads=1 --set model.vocab_size=4096 \
    --set train.micro_batch_size=1 --set train.global_batch_size=8 "$@"
}
{
  for exits in '[4]|[0.25]' '[4,8]|[0.25,0.5]' '[4,8,12]|[0.25,0.5,0.75]'; do
    echo "## exits ${exits%|*}, one rank"
    timed --set "exits.layers=${exits%|*}" --set "exits.weights=${exits#*|}"
    echo "## exits ${exits%|*}, two stages"
    timed --nproc 2 --set parallel.pp=2 --set "exits.layers=${exits%|*}" --set "exits.weights=${exits#*|}"
  done
  echo '## no exits, two stages alone'
  timed --nproc 2 --set parallel.pp=2 --mesh-only --set 'exits.layers=[]' --set 'exits.weights=[]'
  echo '## exits [4,8], two stages alone'
  timed --nproc 2 --set parallel.pp=2 --mesh-only
  echo '## exits [4,8], two stages, behind the boundary'
  timed --nproc 2 --set parallel.pp=2 --mesh-only --set parallel.pre_exit=true
  # A head of this model, forward and backward, takes 5.3 times a layer's forward pass by its operations.
  echo '| stages | exits | option | simulated |'
  echo '|---|---|---|---|'
  for stages in 4 8; do
    for exits in none 4 4,8 2,4,8; do
      for option in '' --pre-exit '--fill-warmup=auto --fill-cooldown=auto'; do
        case $exits in none) [ -z "$option" ] || continue && set -- ;; *) set -- --exits "$exits" ;; esac
        # shellcheck disable=SC2086 # several words
        "$eellm" schedule --pp $stages --microbatches 16 --layers 16 --head-cost 5.3 "$@" $option > "$work/schedule.txt"
        echo "| $stages | $exits | $option | $(tail -n 1 "$work/schedule.txt") |"
      done
    done
  done
} > "$work/training.md"
cat "$work/training.md"
