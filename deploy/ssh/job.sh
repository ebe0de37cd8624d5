#!/usr/bin/env bash
# Any eellm command on several hosts with nothing but ssh: one rank a host, in the order given.
#
#   deploy/ssh/job.sh HOST[,HOST...] COMMAND...
#   deploy/ssh/job.sh node1,node2 ./eellm train --config run.yaml --output /shared/run
#
# All hosts see this folder under the same path, with eellm built there (./eellm --version does).
# On a single machine use --nproc instead: ./eellm train --nproc 4 ...
set -euo pipefail
[ $# -ge 2 ] || {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
}
IFS=, read -r -a hosts <<<"$1"
shift
remote=${SSH:-ssh}
port=${MASTER_PORT:-29500}

pids=()
# A terminal (-tt) makes the remote rank end when its ssh does.
for rank in "${!hosts[@]}"; do
  place="RANK=$rank WORLD_SIZE=${#hosts[@]} LOCAL_RANK=0 LOCAL_WORLD_SIZE=1"
  place+=" MASTER_ADDR=${hosts[0]} MASTER_PORT=$port"
  $remote -tt "${hosts[$rank]}" "cd $(printf %q "$PWD") && exec env $place $(printf '%q ' "$@")" \
    </dev/null > >(sed -u "s/^/[rank $rank] /") 2>&1 &
  pids+=($!)
done
trap 'kill "${pids[@]}" 2>/dev/null || true' EXIT

# The first rank to fail gives the exit code; the others notice by themselves.
status=0
for _ in "${pids[@]}"; do
  wait -n || status=$?
done
exit "$status"
