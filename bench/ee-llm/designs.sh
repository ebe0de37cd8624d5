#!/bin/sh
# docs/reports/methods.md: do exits gain less on newer designs? Trains the quickstart's recipe in several
# designs of the same number of parameters, on the same text, and prints what exits and drafts gain on each,
# on methods of a library that none has seen.
#
#   bench/ee-llm/designs.sh [FOLDER [SECTION.KEY=VALUE...]]
#
# DESIGNS="deep wide" makes these alone. A run takes some minutes on two cores. Speeds need a quiet machine.
. "$(dirname "$0")/common.sh"
java_data

# What a design changes in configs/quickstart.yaml: 16 layers of width 192, exits after 2 and 4. Exits stay
# after an eighth and a quarter of the layers.
changes() {
  case $1 in
    deep) ;;
    wide) echo model.num_layers=8 model.hidden_size=256 model.num_heads=4 model.ffn_hidden_size=768 exits.layers=[1,2] ;;
    qk-norm) echo model.qk_norm=true ;;
    norms-behind) echo model.norm_placement=after model.qk_norm_whole=true ;;
    *) echo "designs.sh: no design is called $1" >&2 && exit 2 ;;
  esac
}

set -f # [1,2] is no pattern of files
designs=${DESIGNS:-deep wide qk-norm norms-behind}
for design in $designs; do
  settings=$(changes "$design") || exit 2
  # shellcheck disable=SC2086 # no setting has a space
  learn train "design-$design" configs/quickstart.yaml "data.sources=[$work/java]" \
    "data.validation=[$work/held-out]" "data.tokenizer=$work/java-tokenizer" $settings "$@"
done
set +f
set -- "$root"/target/java-sources/commons-text-*-sources.jar
for design in $designs; do
  "$eellm" sweep --model "$work/design-$design" --code "$1" --limit 24 --max-tokens 48 --output "$work/sweep-$design" \
    --methods fixed-exit,max-probability,margin,layerskip,confident-drafts,dssd,hispec,skipped-layers,adaptive-exits > "$work/sweep-$design.log"
done
# shellcheck disable=SC2086 # names of runs
compare designs $(for design in $designs; do echo "design-$design"; done)
echo
echo '| design | method | tokens a pass | accepted | mean layer | agreement | speed-up |'
echo '|---|---|---|---|---|---|---|'
for design in $designs; do
  # Options have commas; nothing behind them has.
  sed 's/"[^"]*"//g' "$work/sweep-$design/sweep.csv" |
    awk -F, -v design="$design" 'NR > 2 { print "| " design " | " $1 " | " $9 " | " $15 " | " $10 " | " $11 " | " $5 " |" }'
done
