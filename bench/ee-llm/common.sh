# What the scripts of this folder share: the data, and runs that go on where they were stopped.
# Each script takes a folder for all it makes, runs/ee-llm if left out, and settings for all its runs,
# such as train.threads=1. EELLM names another launcher.
set -eu
root=$(CDPATH='' cd -- "$(dirname "$0")/../.." && pwd -P)
eellm=${EELLM:-$root/eellm}
work=${1:-$root/runs/ee-llm}
[ $# -eq 0 ] || shift
mkdir -p "$work"
work=$(CDPATH='' cd -- "$work" && pwd -P)

# Java sources of seven libraries, and their tokenizer. An eighth, commons-text, is for validation.
java_data() {
  [ -e "$work/held-out.idx" ] && return
  "$eellm" --version > /dev/null # builds, which fetches the sources
  sources=$root/target/java-sources
  "$eellm" prepare --input "$sources/{commons-[ciml]*,guava*}" --output "$work/java" --vocab-size 4096
  "$eellm" prepare --input "$sources/commons-text*" --output "$work/held-out" --tokenizer "$work/java-tokenizer"
}

# learn COMMAND NAME CONFIG ARGUMENT...: a run in the folder NAME, from where it was stopped.
# An argument is an option, as in --nproc=4, or a setting.
learn() {
  command=$1 name=$2 config=$3
  shift 3
  for argument; do
    shift
    case $argument in
      --*) set -- "$@" "$argument" ;;
      *) set -- "$@" --set "$argument" ;;
    esac
  done
  [ ! -e "$work/$name/config.yaml" ] || set -- "$@" --resume
  "$eellm" "$command" --config "$config" --output "$work/$name" "$@"
}

# learn_java NAME ARGUMENT...: the model of configs/java-8m.yaml.
learn_java() {
  name=$1
  shift
  learn train "$name" configs/java-8m.yaml "data.sources=[$work/java]" "data.validation=[$work/held-out]" \
    "data.tokenizer=$work/java-tokenizer" "$@"
}

# compare TABLE RUN...: a table of runs, and a picture of the same name.
compare() {
  table=$1
  shift
  (cd "$work" && "$eellm" compare --output "$table.png" "$@" > "$table.md")
  cat "$work/$table.md"
}
