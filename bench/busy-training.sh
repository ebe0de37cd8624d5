#!/bin/sh
# How fast training is beside other work on the same processors: bench/busy-training.sh [COUNT ...]
#
# COUNT is how often libgomp's threads look for work before they sleep (GOMP_SPINCOUNT); `own` leaves it
# to eellm. Without any: own and 300000, which is libgomp's default. A run of training for each COUNT is
# started and stopped (SIGSTOP). Then they go on in turns, beside 0, 1, 2 and 8 busy loops, for WINDOW
# seconds (4 by default) times one more than there are loops. Prints the median of the turns' speed in
# tokens/s, its range, and its share of the first COUNT's without loops. 0 says that no step ended.
#
# TURNS=7 takes more turns than five. CONFIG is a configuration without data, in place of
# configs/quickstart.yaml in float32.
set -eu

root=$(CDPATH='' cd -- "$(dirname "$0")/.." && pwd -P)
turns=${TURNS:-5}
window=${WINDOW:-4}
config=${CONFIG:-$root/configs/quickstart.yaml}
loads='0 1 2 8'

usage() {
  echo "busy-training.sh: $1; use bench/busy-training.sh [COUNT ...]" >&2
  exit 2
}

for number in "TURNS $turns" "WINDOW $window"; do
  case ${number#* } in
    '' | *[!0-9]* | 0) usage "${number% *}: '${number#* }' is not a number of 1 or more" ;;
  esac
done
[ $# -gt 0 ] || set -- own 300000
for count in "$@"; do
  case $count in
    own) ;;
    '' | *[!0-9]*) usage "COUNT: '$count' is neither own nor a number" ;;
  esac
done

work=$(mktemp -d)
runs=
loops=
end() {
  # shellcheck disable=SC2086 # words
  kill -KILL $runs 2>/dev/null || true
  # shellcheck disable=SC2086
  kill $loops 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir "$work/text"
for page in "$root"/docs/*.md; do
  cat "$page"
  echo '<|endoftext|>'
done >"$work/text/pages.txt"
"$root/eellm" prepare --input "$work/text" --output "$work/set" --vocab-size 4096 >"$work/log" 2>&1 ||
  {
    cat "$work/log" >&2
    exit 1
  }

# Steps that the run of COUNT $1 has taken.
steps() {
  wc -l 2>/dev/null <"$work/run-$1/metrics.jsonl" || echo 0
}

# Waits until the run of COUNT $1, process $2, has taken a few steps, so that Java has compiled them.
warm_up() {
  until [ "$(steps "$1")" -ge 12 ]; do
    kill -0 "$2" 2>/dev/null || {
      cat "$work/log-$1" >&2
      exit 1
    }
    sleep 0.5
  done
  kill -STOP "$2"
}

for count in "$@"; do
  (
    unset OMP_WAIT_POLICY GOMP_SPINCOUNT
    [ "$count" = own ] || export GOMP_SPINCOUNT="$count"
    exec "$root/eellm" train --config "$config" --output "$work/run-$count" \
      --set model.dtype=float32 --set "data.sources=[$work/set]" --set "data.tokenizer=$work/set-tokenizer" \
      --set train.steps=1000000 --set train.eval_interval=0 --set logging.tensorboard=false
  ) >"$work/log-$count" 2>&1 &
  runs="$runs $!"
  warm_up "$count" $!
  echo "busy-training.sh: the run of $count is ready" >&2
done

start_loops() {
  loops=
  i=0
  while [ $i -lt "$1" ]; do
    timeout 600 sh -c 'while :; do :; done' &
    loops="$loops $!"
    i=$((i + 1))
  done
}

stop_loops() {
  # shellcheck disable=SC2086
  [ -z "$loops" ] || kill $loops
  loops=
}

# Prints the tokens/s of the steps of run $1 after line $2 and the next, in which it was stopped.
speed() {
  tail -n "+$(($2 + 2))" "$work/run-$1/metrics.jsonl" | awk '
    match($0, /"tokens_per_second":[0-9.E+-]+/) {
      seconds += 1 / substr($0, RSTART + 20, RLENGTH - 20); n++
    }
    END { print n ? n / seconds : 0 }'
}

turn=1
while [ "$turn" -le "$turns" ]; do
  for load in $loads; do
    start_loops "$load"
    pids=$runs
    for count in "$@"; do
      pids=${pids# }
      pid=${pids%% *}
      pids=${pids#"$pid"}
      before=$(steps "$count")
      kill -CONT "$pid"
      sleep $((window * (load + 1)))
      kill -STOP "$pid"
      echo "$count $load $(speed "$count" "$before")" >>"$work/speeds"
    done
    stop_loops
  done
  echo "busy-training.sh: turn $turn of $turns" >&2
  turn=$((turn + 1))
done

printf '%10s %6s %10s %24s %6s\n' spins loops tokens/s range share
for count in "$@"; do
  for load in $loads; do
    awk -v c="$count" -v l="$load" '$1 == c && $2 == l { print $3 }' "$work/speeds" | sort -g | awk -v c="$count" -v l="$load" '
      { v[NR] = $1 }
      END { print c, l, (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2, v[1], v[NR] }'
  done
done | awk '
  NR == 1 { first = $3 }
  { printf "%10s %6d %10.0f %24s %6.2f\n", $1, $2, $3, sprintf("%.0f to %.0f", $4, $5), $3 / first }'
