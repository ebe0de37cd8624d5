#!/bin/sh
# Decodes with the same random Llama in llama.cpp and in eellm, in turns: src/bench/llama-cpp/run.sh [TURNS]
# Needs node and npm; leaves its files under target/llama-cpp.
set -eu
turns=${1:-3} threads=2 tokens=96 rounds=3
cd "$(dirname "$0")/../../.."
work=$PWD/target/llama-cpp
mkdir -p "$work"

cp src/bench/llama-cpp/decode.mjs "$work"
[ -d "$work/node_modules/node-llama-cpp" ] ||
  (cd "$work" && npm init -y && npm install --no-audit --no-fund node-llama-cpp) >"$work/npm.log" 2>&1
if [ ! -f "$work/q8_0.gguf" ]; then
  yes 'Some text that a tokenizer can be made of, and a step be trained on.' | head -n 200 >"$work/text.txt"
  ./eellm prepare --input "$work/text.txt" --output "$work/text" --vocab-size 264 >&2
  ./eellm train --config configs/134m.yaml --output "$work/run" --set "data.sources=[$work/text]" \
    --set "data.tokenizer=$work/text-tokenizer" --set data.sequence_length=32 --set train.steps=1 \
    --set train.micro_batch_size=1 --set train.global_batch_size=1 >&2
  for type in bfloat16 q8_0; do
    ./eellm export --model "$work/run" --format gguf --dtype $type --output "$work/$type.gguf" >&2
  done
fi

llama() {
  (cd "$work" && node decode.mjs "$1.gguf" $threads $tokens $rounds)
}
eellm() {
  ./eellm bench decode --config configs/134m.yaml --set exits.layers=[] --set exits.weights=[] \
    --set train.threads=$threads --max-tokens $tokens --rounds $rounds --quantize "$1" --json >"$work/eellm.json"
  sed -n 's/.*"tokens_per_second" *: *\([0-9.]*\).*/\1/p' "$work/eellm.json"
}
row() { # format, llama.cpp's rate, eellm's
  awk -v f="$1" -v l="$2" -v e="$3" 'BEGIN { printf "%-10s %9.1f %9.1f %6.2f\n", f, l, e, e / l }'
}

echo "tokens/s   llama.cpp     eellm  ratio"
turn=0
while [ $turn -lt "$turns" ]; do
  theirs=$(llama bfloat16)
  ours=$(eellm none)
  row bfloat16 "$theirs" "$ours"
  theirs=$(llama q8_0)
  ours=$(eellm int8)
  row int8 "$theirs" "$ours"
  turn=$((turn + 1))
done
