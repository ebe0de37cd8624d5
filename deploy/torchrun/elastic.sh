#!/usr/bin/env bash
# A training under torchrun that goes on with fewer nodes when one is lost, and with more when one
# comes. Run it on every node:
#
#   deploy/torchrun/elastic.sh MIN:MAX RANKS_PER_NODE FIRST_HOST COMMAND...
#   deploy/torchrun/elastic.sh 2:4 8 node1 \
#     ./eellm train --config run.yaml --output /shared/run --min-replicas 2
#
# Whenever ranks fail or nodes come, torchrun starts all ranks again on the nodes that there are, as
# often as RESTARTS says (10), from the newest checkpoint. --min-replicas has eellm train as many
# replicas as there are ranks for, with the same batches. Every number of nodes has to make whole
# replicas: RANKS_PER_NODE is a multiple of tp x pp, and parallel.dp is for MAX nodes. FIRST_HOST has
# to remain: the nodes meet there. Build eellm before (./eellm --version does).
set -euo pipefail
[ $# -ge 4 ] || {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
}
nodes=$1 ranks=$2 first=$3
shift 3
output= # of the run
for ((i = 1; i < $#; i++)); do
  next=$((i + 1))
  [ "${!i}" != --output ] || output=${!next}
done
# Else torchrun hosts one store for all times, where new ranks would find what the old ones wrote.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# shellcheck disable=SC2016 # Each rank expands it, when it starts.
exec torchrun --no-python --nnodes "$nodes" --nproc-per-node "$ranks" \
  --max-restarts "${RESTARTS:-10}" --rdzv-id "${JOB:-eellm}" --rdzv-backend c10d \
  --rdzv-endpoint "$first:${MASTER_PORT:-29400}" \
  bash -c '[ ! -e "$0/config.yaml" ] || set -- "$@" --resume; exec "$@"' "$output" "$@"
