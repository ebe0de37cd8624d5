#!/usr/bin/env bash
# Any eellm command under torchrun. Run it on every node, each with its own number:
#
#   deploy/torchrun/job.sh NODE NODES RANKS_PER_NODE FIRST_HOST COMMAND...
#   deploy/torchrun/job.sh 0 2 8 node1 ./eellm train --config run.yaml --output /shared/run
#
# Any launcher that sets RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and
# MASTER_PORT does as well. Build eellm before (./eellm --version does).
set -euo pipefail
[ $# -ge 5 ] || {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
}
node=$1 nodes=$2 ranks=$3 first=$4
shift 4
exec torchrun --no-python --nnodes "$nodes" --node-rank "$node" --nproc-per-node "$ranks" \
  --master-addr "$first" --master-port "${MASTER_PORT:-29500}" "$@"
