#!/bin/sh
# docs/reports/methods.md: methods of papers on four trunks. Trains each with what its methods need (a draft head, a
# draft table, gates), and measures them in turns. bench/ee-llm/methods.mjs puts the figures into the report.
#
#   NOVELS=FOLDER bench/ee-llm/methods.sh [FOLDER [SECTION.KEY=VALUE...]]
#
# NOVELS has train.txt.xz and valid.txt.xz; docs/reports/novels.md says which. TRUNKS="json" makes and measures this one
# alone, in a quarter of an hour on two cores; all take some three hours. Speeds need a quiet machine.
. "$(dirname "$0")/common.sh"

# trunk NAME CONFIG DATA PROMPTS SETTING...: a model and what its methods need, from where it was stopped.
trunk() {
  trunk=$1 preset=$2 data=$3 prompts=$4
  shift 4
  learn train "$trunk" "$preset" "data.sources=[$work/$data]" "data.tokenizer=$work/$data-tokenizer" 'data.split=[99, 1, 0]' "$@"
  set -- "data.sources=[$work/$data]" "data.tokenizer=$work/$data-tokenizer"
  # A head that is to draft behind long prompts learns from long texts, as many tokens in all.
  [ "$trunk" != long ] || set -- "$@" data.sequence_length=4096 train.micro_batch_size=1 train.global_batch_size=1 train.steps=240
  learn tune "$trunk-head" configs/tune-draft-head.yaml --model="$work/$trunk" "$@"
  [ ! -e "$work/$trunk/gated" ] || return 0
  "$eellm" add-draft-head --model "$work/$trunk" --draft-head "$work/$trunk-head"
  "$eellm" draft-table --model "$work/$trunk" --data "$work/$data"
  # shellcheck disable=SC2086 # an option and its value
  "$eellm" calibrate --model "$work/$trunk" $prompts --max-tokens 48 --delta 0.05 --epsilon 0.1 --gate --draft-vocabulary 512
  touch "$work/$trunk/gated"
}

# Beginnings of paragraphs: those whose number leaves the remainder $1 by 5.
paragraphs() {
  xz -dc "$NOVELS/valid.txt.xz" | grep -E '.{300,}' | awk -v rest="$1" 'NR % 5 == rest' | cut -c1-200 | head -n "$2"
}

# Sentences of people that the training did not see.
sentences() {
  node -e 'import(process.argv[3]).then(({people}) => {
    const next = people(Number(process.argv[1]));
    for (let i = 0; i < Number(process.argv[2]); i++) console.log(next().sentence.trim());
  })' "$1" "$2" "$root/bench/people.mjs"
}

java_sources() {
  [ ! -e "$work/sources.idx" ] || return 0
  "$eellm" --version > /dev/null # builds, which fetches seven libraries
  (cd "$root" && mvn -q -pl eellm-cli dependency:copy@more-java-sources dependency:copy@held-out-java-sources)
  "$eellm" prepare --input "$root/target/java-sources/{commons-[ciml]*,guava*}" "$root/target/more-java-sources" \
    --output "$work/sources" --vocab-size 4096
}

# sweep RESULT METHODS TOKENS OPTION...: the trunk is RESULT up to its hyphen.
sweep() {
  result=$1 methods=$2 tokens=$3
  shift 3
  "$eellm" sweep --model "$work/${result%%-*}" --methods "$methods" --max-tokens "$tokens" --output "$work/sweep-$result" "$@" > "$work/sweep-$result.log"
}

trunks=${TRUNKS:-java novels json long}
held_out="--code $root/target/held-out-java-sources --limit 240"
unseen="--code $root/target/java-sources/commons-text-1.13.1-sources.jar"
for name in $trunks; do
  case $name in
    java)
      java_sources
      trunk java configs/java-23m.yaml sources "$held_out" "$@"
      # shellcheck disable=SC2086 # an option and its value
      sweep java all 48 $unseen --limit 20 --temperatures 0,0.8
      # shellcheck disable=SC2086
      sweep java-eight all 48 $unseen --limit 64 --batch-sizes 8
      # shellcheck disable=SC2086
      (export EELLM_JAVA_OPTS="${EELLM_JAVA_OPTS:-} -Deellm.cpu=avx2" && sweep java-avx2 all 48 $unseen --limit 20)
      ;;
    long)
      java_sources
      trunk long configs/quickstart.yaml sources "$held_out" model.max_positions=4096 data.sequence_length=4096 \
        train.micro_batch_size=1 train.global_batch_size=1 train.steps=300 "$@"
      # shellcheck disable=SC2086
      sweep long all 48 $unseen --limit 8 --contexts 1000
      # A prompt's time varies by more than 48 tokens take behind it.
      # shellcheck disable=SC2086
      sweep long-3800 fixed-exit,max-probability,gates,layerskip,adaptive-exits,prompt-lookup,token-recycling,draft-head,all-sources \
        240 $unseen --limit 8 --contexts 3800
      ;;
    novels)
      if [ ! -e "$work/novels-240.txt" ]; then
        "$eellm" prepare --input "${NOVELS:?give a folder with train.txt.xz and valid.txt.xz}/train.txt.xz" --output "$work/paragraphs" --vocab-size 8192
        paragraphs 0 20 > "$work/novels-20.txt"
        paragraphs 1 240 > "$work/novels-240.txt"
      fi
      trunk novels configs/novels-10m.yaml paragraphs "--prompts $work/novels-240.txt" "$@"
      sweep novels all 48 --prompts "$work/novels-20.txt"
      ;;
    json)
      if [ ! -e "$work/json-240.txt" ]; then
        node "$root/bench/people.mjs" 60000 > "$work/people.jsonl"
        "$eellm" prepare --input "$work/people.jsonl" --output "$work/people" --vocab-size 1024
        sentences 777 20 > "$work/json-20.txt"
        sentences 4242 240 > "$work/json-240.txt"
      fi
      trunk json configs/json-8m.yaml people "--prompts $work/json-240.txt" "$@"
      sweep json all 48 --prompts "$work/json-20.txt"
      sweep json-240 draft-head,all-sources 48 --prompts "$work/json-240.txt"
      ;;
    *) echo "methods.sh: no trunk is called $name; there are java, novels, json and long" >&2 && exit 2 ;;
  esac
done
