#!/bin/sh
# Runs the same random Llama in llama.cpp, built for this processor, and in eellm, in turns:
#
#   bench/llama-cpp/run.sh [--turns N] [decode|quantized|contexts|prompts|batches|server ...]
#   bench/llama-cpp/run.sh ids
#
# does everything three times, unless told otherwise. It prints a table, and writes results.json
# beside its other files in target/llama-cpp. The second form compares no speeds, but the greedy tokens of
# files that llama.cpp's own quantizer makes. llama.cpp is taken from the folder LLAMA_CPP, which
# has build/bin in it, or else fetched and built here. Needs node; to fetch and build also npm, git,
# cmake, a C++ compiler and the network.
set -eu

fail() {
  echo "run.sh: $1" >&2
  exit 1
}

turns=3
parts=
ids=
while [ $# -gt 0 ]; do
  case $1 in
    --turns)
      turns=${2:-}
      case $turns in
        '' | 0 | *[!0-9]*) fail "--turns: '$turns' is no number of turns; use 3" ;;
      esac
      shift
      ;;
    decode | quantized | contexts | prompts | batches | server) parts="$parts $1" ;;
    ids) ids=yes ;;
    *)
      fail "'$1' is nothing to measure; use --turns N, decode, quantized, contexts, prompts, batches, server, ids"
      ;;
  esac
  shift
done
[ -z "$ids" ] || [ -z "$parts" ] || fail "ids compares no speeds; leave out$parts, or run it by itself"
: "${parts:=decode quantized contexts prompts batches server}"

threads=2
rounds=3   # within a turn, of which the median counts
tokens=96  # of a text
port=${PORT:-18080}
here=$(CDPATH='' cd -- "$(dirname "$0")" && pwd -P)
root=$(dirname "$(dirname "$here")")
work=$root/target/llama-cpp
model="--config $root/configs/134m.yaml --set model.max_positions=4096
  --set exits.layers=[] --set exits.weights=[]"
server=
trap 'stop_server' EXIT
trap 'exit 1' INT TERM

eellm() {
  "$root/eellm" "$@" 2>>"$work/eellm.log"
}

# An expression of the JSON document on standard input, called all; a list gives a word for each.
json() {
  node -e '
    const all = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
    console.log([eval(process.argv[1])].flat().join(" "));' "$1"
}

# The lines of JSON on standard input as a list.
lines() {
  sed -n '/^{/p' | sed '1!s/^/,/; 1s/^/[/; $s/$/]/'
}

# What is measured

get_llama_cpp() {
  source=${LLAMA_CPP:-$work/llama.cpp}
  bin=$source/build/bin
  [ ! -x "$bin/llama-server" ] || return 0
  [ -z "${LLAMA_CPP:-}" ] || fail "LLAMA_CPP: there is no build/bin/llama-server in '$LLAMA_CPP'"
  echo "run.sh: building llama.cpp, some five minutes on two cores" >&2
  (
    cd "$work"
    npm pack node-llama-cpp@3.21.1
    tar -xzf node-llama-cpp-3.21.1.tgz package/llama/gitRelease.bundle
    rm -rf llama.cpp
    git clone package/llama/gitRelease.bundle llama.cpp
    cmake -S llama.cpp -B llama.cpp/build -DCMAKE_BUILD_TYPE=Release -DLLAMA_BUILD_TESTS=OFF \
      -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_OPENSSL=OFF
    cmake --build llama.cpp/build --parallel "$(getconf _NPROCESSORS_ONLN)" \
      --target llama-bench llama-batched-bench llama-quantize llama-server
  ) >"$work/build.log" 2>&1 || fail "llama.cpp cannot be built; see $work/build.log"
}

# Random words, so many that a tokenizer finds 32,000 tokens in them. A model of twenty steps says
# none of the broken characters that llama.cpp's server ends a text at.
make_model() {
  [ ! -f "$work/float32.gguf" ] || return 0
  awk 'BEGIN {
    srand(1)
    for (line = 0; line < 24000; line++) {
      for (word = 0; word < 8; word++) {
        for (letter = 3 + int(rand() * 6); letter > 0; letter--) {
          printf "%c", 97 + int(rand() * 26)
        }
        printf " "
      }
      print ""
    }
  }' >"$work/text.txt"
  rm -rf "$work/run" "$work/new.gguf"
  eellm prepare --input "$work/text.txt" --output "$work/text" --vocab-size 32000 >&2
  # shellcheck disable=SC2086 # several words
  eellm train $model --output "$work/run" --set "data.sources=[$work/text]" \
    --set "data.tokenizer=$work/text-tokenizer" --set data.sequence_length=32 --set model.dtype=float32 \
    --set train.steps=20 --set train.micro_batch_size=1 --set train.global_batch_size=1 \
    --set optimizer.learning_rate=1e-3 --set optimizer.warmup_steps=2 >&2
  for dtype in bfloat16 float32; do
    eellm export --model "$work/run" --format gguf --dtype $dtype --output "$work/new.gguf" >&2
    mv "$work/new.gguf" "$work/$dtype.gguf"
  done
}

# llama.cpp, in tokens a second

llama_bench() { # format, then options: a word for each test
  gguf=$work/$1.gguf
  shift
  "$bin/llama-bench" -m "$gguf" -t $threads -r $rounds -o json "$@" 2>>"$work/llama.log" |
    json 'all.map((test) => median(test.samples_ts))'
}

llama_batches() { # numbers of sequences, with commas
  "$bin/llama-batched-bench" -m "$work/bfloat16.gguf" -t $threads -tb $threads -npp 16 \
    -ntg $tokens -npl "1,$1" -c $((32 * (16 + tokens))) --output-format jsonl \
    2>>"$work/llama.log" | lines | json 'all.slice(1).map((test) => test.speed_tg)'
}

# eellm, in tokens a second

eellm_decode() { # format, sequences at once, quantization
  # shellcheck disable=SC2086 # several words
  eellm bench decode $model --set model.dtype="$1" --set train.threads=$threads --rows 1 \
    --batch-size "$2" --quantize "${3:-none}" --max-tokens $tokens --rounds $rounds --json |
    json 'all.report.modes.at(-1).tokens_per_second'
}

eellm_contexts() { # positions before the token, with commas
  # shellcheck disable=SC2086 # several words
  eellm bench decode $model --set train.threads=$threads --rows 1 --context "$1" \
    --max-tokens $tokens --rounds $rounds --json |
    json 'all.report.costs.steps.filter((step) => step.rows === 1)
      .map((step) => 1e6 / step.step.microseconds)'
}

eellm_prompts() { # lengths, with commas; quantization
  # shellcheck disable=SC2086 # several words
  eellm bench prompt $model --set train.threads=$threads --lengths "$1" --quantize "${2:-none}" \
    --rounds $rounds --json |
    json 'all.prompts.map((prompt) => prompt.tokens_per_second)'
}

# Servers

start_server() { # a command, for ten minutes at most
  timeout 600 "$@" >>"$work/server.log" 2>&1 &
  server=$!
}

stop_server() {
  if [ -n "$server" ]; then
    kill "$server" 2>>"$work/server.log" || true
    wait "$server" || true
    server=
  fi
}

# Sets loaded: the rate with 1, 8 and 16 clients.
load() {
  loaded=$(node "$here/load.mjs" "http://127.0.0.1:$port" $tokens 1:8 8:4 16:4)
  stop_server
}

llama_server() { # format
  start_server "$bin/llama-server" -m "$work/$1.gguf" -t $threads -tb $threads -np 16 \
    -c $((16 * 256)) --host 127.0.0.1 --port "$port"
  load
}

# Without drafts, which llama.cpp's server does not make here either.
eellm_server() { # quantization
  start_server "$root/eellm" serve --model "$work/run" --threads $threads --batch-size 16 \
    --mode full --dtype bfloat16 --quantize "$1" --port "$port"
  load
}

# Greedy tokens

ask() { # llama.cpp or eellm, a file for the answers
  node "$here/ids.mjs" ask "$1" "http://127.0.0.1:$port" 64 >"$2"
  stop_server
}

compare_ids() {
  for type in Q8_0 Q4_0 Q4_K_M Q5_K_M Q6_K; do
    quantize "$type"
    start_server "$bin/llama-server" -m "$work/$type.gguf" -t $threads -np 1 -c 256 --host 127.0.0.1 --port "$port"
    ask llama.cpp "$work/$type.theirs"
    start_server "$root/eellm" serve --model "$work/$type.gguf" --threads $threads --port "$port"
    ask eellm "$work/$type.ours"
    echo "$type: $(node "$here/ids.mjs" compare "$work/$type.theirs" "$work/$type.ours")"
  done
}

# Turns

rows() { # what, with semicolons between; llama.cpp's rates; eellm's
  awk -v what="$1" -v theirs="$2" -v ours="$3" 'BEGIN {
    count = split(what, w, ";")
    split(theirs, t, " ")
    split(ours, o, " ")
    for (i = 1; i <= count; i++) {
      printf "{\"what\": \"%s\", \"llama_cpp\": %s, \"eellm\": %s}\n", w[i], t[i], o[i]
    }
  }' | tee -a "$work/turns.jsonl" >&2
}

measure_decode() {
  for dtype in bfloat16 float32; do
    theirs=$(llama_bench $dtype -p 0 -n $tokens)
    ours=$(eellm_decode $dtype 1)
    rows "one text, $dtype" "$theirs" "$ours"
  done
}

quantize() { # a format of llama.cpp's
  [ -f "$work/$1.gguf" ] ||
    "$bin/llama-quantize" "$work/float32.gguf" "$work/$1.gguf" "$1" >>"$work/llama.log" 2>&1
}

measure_quantized() {
  for pair in Q8_0:int8 Q4_0:int4; do
    type=${pair%:*}
    quantize "$type"
    theirs=$(llama_bench "$type" -p 0 -n $tokens)
    ours=$(eellm_decode bfloat16 1 "${pair#*:}")
    rows "one text, $type beside ${pair#*:}" "$theirs" "$ours"
    theirs=$(llama_bench "$type" -p 128,512 -n 0)
    ours=$(eellm_prompts 128,512 "${pair#*:}")
    rows "prompt of 128, $type;prompt of 512, $type" "$theirs" "$ours"
  done
}

measure_contexts() {
  theirs=$(llama_bench bfloat16 -p 0 -n 64 -d 1000,3800)
  ours=$(eellm_contexts 1000,3800)
  rows "one text after 1000 positions;one text after 3800 positions" "$theirs" "$ours"
}

measure_prompts() {
  theirs=$(llama_bench bfloat16 -p 128,512 -n 0)
  ours=$(eellm_prompts 128,512)
  rows "prompt of 128;prompt of 512" "$theirs" "$ours"
}

measure_batches() {
  theirs=$(llama_batches 8,32)
  ours="$(eellm_decode bfloat16 8) $(eellm_decode bfloat16 32)"
  rows "8 texts at once;32 texts at once" "$theirs" "$ours"
}

measure_server() {
  for pair in bfloat16:none Q8_0:int8; do
    type=${pair%:*}
    [ "$type" = bfloat16 ] || quantize "$type"
    llama_server "$type"
    theirs=$loaded
    eellm_server "${pair#*:}"
    rows "server, 1 client, $type;server, 8 clients, $type;server, 16 clients, $type" "$theirs" "$loaded"
  done
}

mkdir -p "$work"
get_llama_cpp
make_model
if [ -n "$ids" ]; then
  compare_ids
  exit
fi
: >"$work/turns.jsonl"
turn=0
while [ $turn -lt "$turns" ]; do
  for part in $parts; do
    "measure_$part"
  done
  turn=$((turn + 1))
done
version=$("$bin/llama-server" --version 2>&1 | sed -n 's/^version: //p')
commit=$(git -C "$root" describe --always --dirty)
node "$here/report.mjs" "$work/turns.jsonl" "$work/results.json" "$version" "$commit" $threads
