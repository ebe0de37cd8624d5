#!/bin/sh
# How fast the quickstart trains beside other work on the same processors: bench/busy-training.sh [WAY ...]
#
# WAY is `replicas`, as the quickstart trains; or threads of one replica, and how often libgomp's threads
# look for work before they sleep (GOMP_SPINCOUNT); `own` leaves that to eellm. Without any: replicas, own and
# 300000, which is libgomp's default. A run of training for each WAY is started and stopped (SIGSTOP). Then
# they go on in turns, beside 0, 1, 2 and 8 busy loops, for WINDOW seconds (4 by default) times one more than
# there are loops. Prints the median of the turns' speed in tokens/s, its range, and its share of the last
# WAY's without loops. 0 says that no step ended.
#
# TURNS=7 takes more turns than five. DTYPE is the number format, float32 by default.
set -eu

root=$(CDPATH='' cd -- "$(dirname "$0")/.." && pwd -P)
turns=${TURNS:-5}
window=${WINDOW:-4}
dtype=${DTYPE:-float32}
loads='0 1 2 8'

usage() {
  echo "busy-training.sh: $1; use bench/busy-training.sh [WAY ...]" >&2
  exit 2
}

for number in "TURNS $turns" "WINDOW $window"; do
  case ${number#* } in
    '' | *[!0-9]* | 0) usage "${number% *}: '${number#* }' is not a number of 1 or more" ;;
  esac
done
[ $# -gt 0 ] || set -- replicas own 300000
for way in "$@"; do
  case $way in
    own | replicas) ;;
    '' | *[!0-9]*) usage "WAY: '$way' is neither replicas nor own nor a number" ;;
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

# Steps that the run of WAY $1 has taken.
steps() {
  wc -l 2>/dev/null <"$work/run-$1/metrics.jsonl" || echo 0
}

# Waits until the run of WAY $1, process $2, has taken a few steps, so that Java has compiled them.
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

for way in "$@"; do
  (
    unset OMP_WAIT_POLICY GOMP_SPINCOUNT
    set -- "$root/eellm" quickstart --output "$work/run-$way" --set "model.dtype=$dtype" \
      --set train.steps=1000000 --set train.eval_interval=0 --set logging.tensorboard=false
    case $way in
      replicas) exec "$@" ;;
      own) ;;
      *) export GOMP_SPINCOUNT="$way" ;;
    esac
    exec "$@" --set "train.threads=$(nproc)"
  ) >"$work/log-$way" 2>&1 &
  runs="$runs $!"
  warm_up "$way" $!
  echo "busy-training.sh: the run of $way is ready" >&2
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
    for way in "$@"; do
      pids=${pids# }
      pid=${pids%% *}
      pids=${pids#"$pid"}
      before=$(steps "$way")
      kill -CONT "$pid"
      sleep $((window * (load + 1)))
      kill -STOP "$pid"
      echo "$way $load $(speed "$way" "$before")" >>"$work/speeds"
    done
    stop_loops
  done
  echo "busy-training.sh: turn $turn of $turns" >&2
  turn=$((turn + 1))
done

printf '%10s %6s %10s %24s %6s\n' way loops tokens/s range share
for way in "$@"; do
  for load in $loads; do
    awk -v c="$way" -v l="$load" '$1 == c && $2 == l { print $3 }' "$work/speeds" | sort -g | awk -v c="$way" -v l="$load" '
      { v[NR] = $1 }
      END { print c, l, (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2, v[1], v[NR] }'
  done
done | awk '
  $2 == 0 { quiet = $3 }
  { line[NR] = sprintf("%10s %6d %10.0f %24s", $1, $2, $3, sprintf("%.0f to %.0f", $4, $5)); speed[NR] = $3 }
  END { for (i = 1; i <= NR; i++) printf "%s %6.2f\n", line[i], speed[i] / quiet }'
