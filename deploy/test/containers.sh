#!/usr/bin/env bash
# Serves in control groups of 0.5, 1 and 2.6 GB: the server gets ready, reads and writes a million tokens of prompts of which
# each is another, and is not killed; its cache of keys and values is as large as the group lets it be by default. Prints what
# it held at most.
#
#   deploy/test/containers.sh [MODEL [TOKENS]]
#
# MODEL is a folder; without one a model of random weights is made, whose positions take 8 KiB, so that they fill any of the
# groups. Needs root, curl, and Linux's control groups of version 1 or 2. EELLM names another launcher.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
eellm=${EELLM:-$root/eellm}
model=${1:-}
tokens=${2:-1000000}
clients=8
work=$(mktemp -d)
server=
group=
finish() {
  status=$?
  [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true
  [ $status -eq 0 ] || tail -n 20 "$work"/*.log >&2
  leave
  rm -rf "$work"
}
trap finish EXIT

fail() {
  echo "containers.sh: $1" >&2
  exit 1
}

enter() { # BYTES
  if [ -d /sys/fs/cgroup/memory ]; then
    group=/sys/fs/cgroup/memory/eellm-test-$$
    mkdir "$group"
    echo "$1" >"$group/memory.limit_in_bytes"
  else
    group=/sys/fs/cgroup/eellm-test-$$
    mkdir "$group"
    echo "$1" >"$group/memory.max"
  fi
}

leave() {
  [ -n "$group" ] || return 0
  until rmdir "$group" 2>/dev/null; do sleep 0.1; done
  group=
}

within() { # COMMAND...: as a process of the group
  # shellcheck disable=SC2016 # The inner shell's.
  exec bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$@"
}

peak() { # what the group held at most, in MB, with files that the system keeps as long as nobody needs the room
  cat "$group/memory.max_usage_in_bytes" "$group/memory.peak" 2>/dev/null | awk '{ printf "%d\n", $1 / 1e6 }'
}

metric() { # NAME
  curl -sf "$address/metrics" | awk -v name="$1" 'index($1, name) == 1 { sum += $2 } END { printf "%d\n", sum }'
}

make_model() {
  model=$work/model
  awk 'BEGIN {
    srand(1)
    for (line = 0; line < 3000; line++) {
      for (letter = 0; letter < 60; letter++) {
        printf "%c", rand() < 0.2 ? 32 : 97 + int(rand() * 26)
      }
      print ""
    }
  }' >"$work/text.txt"
  "$eellm" prepare --input "$work/text.txt" --output "$work/text" --vocab-size 512
  printf '%s\n' 'model: {vocab_size: 512, hidden_size: 256, num_layers: 4, num_heads: 8, head_dim: 64, ffn_hidden_size: 256,' \
    '  max_positions: 65536, dtype: bfloat16}' >"$work/model.yaml"
  "$eellm" train --config "$work/model.yaml" --output "$model" --set "data.sources=[$work/text]" \
    --set "data.tokenizer=$work/text-tokenizer" --set data.sequence_length=32 --set train.steps=1 \
    --set train.micro_batch_size=1 --set train.global_batch_size=1
}

# Requests of a round, as curl reads them: prompts of random letters.
requests() { # ROUND
  awk -v seed="$1" -v url="$address/v1/completions" 'BEGIN {
    srand(seed)
    for (request = 0; request < 200; request++) {
      prompt = ""
      for (letter = 0; letter < 700; letter++) {
        prompt = prompt (rand() < 0.2 ? " " : sprintf("%c", 97 + int(rand() * 26)))
      }
      if (request > 0) print "next"
      printf "url = \"%s\"\njson = \"{\\\"prompt\\\": \\\"%s\\\", \\\"max_tokens\\\": 16, \\\"temperature\\\": 0}\"\n", url, prompt
      printf "output = /dev/null\nwrite-out = \"%%{http_code}\\n\"\n"
    }
  }'
}

serve() { # BYTES
  enter "$1"
  if (within head -c "$1" /dev/zero | (within tail -n 1) >/dev/null) 2>/dev/null; then
    fail "a process may take more than the limit of its group"
  fi
  (within "$eellm" serve --model "$model" --port 0) 2>"$work/server.log" &
  server=$!
  until address=$(grep -om1 'http://[^ ]*:[0-9]*' "$work/server.log"); do
    kill -0 "$server" 2>/dev/null || fail "the server ended before it was ready"
    sleep 0.1
  done
  address=http://127.0.0.1:${address##*:}
  until curl -sf -o /dev/null "$address/health/ready"; do
    kill -0 "$server" 2>/dev/null || fail "the server ended before it was ready"
    sleep 0.1
  done
  echo "$1 bytes: ready, room for $(metric eellm_cache_tokens) positions, at most $(peak) MB so far"
  local round=0 done=0
  while [ "$done" -lt "$tokens" ]; do
    round=$((round + 1))
    requests $round >"$work/requests"
    curl -s --parallel --parallel-max $clients --config "$work/requests" >"$work/codes" || true
    kill -0 "$server" 2>/dev/null || fail "the server was killed after $done tokens and at most $(peak) MB"
    if grep -vqx 200 "$work/codes"; then
      fail "an answer had another status than 200: $(sort "$work/codes" | uniq -c | paste -sd ' ')"
    fi
    done=$(($(metric eellm_prompt_tokens_total) + $(metric eellm_generated_tokens_total)))
  done
  echo "$1 bytes: $done tokens, of which $(metric eellm_reused_prompt_tokens_total) were in the cache; at most $(peak) MB," \
    "the process $(awk '/VmHWM/ { printf "%d", $2 * 1024 / 1e6 }' "/proc/$server/status") MB"
  kill -TERM "$server"
  wait "$server" || fail "the server ended with exit code $?"
  server=
  leave
}

[ -n "$model" ] || make_model >"$work/model.log" 2>&1
for bytes in 512000000 1000000000 2600000000; do
  serve $bytes
done
