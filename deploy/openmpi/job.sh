#!/usr/bin/env bash
# Any eellm command under Open MPI's mpirun, which only starts the ranks: they talk over Gloo or
# NCCL, not over MPI.
#
#   deploy/openmpi/job.sh HOST:RANKS[,HOST:RANKS...] COMMAND...
#   deploy/openmpi/job.sh node1:4,node2:4 ./eellm train --config run.yaml --output /shared/run
#
# All hosts see this folder under the same path, with eellm built there (./eellm --version does).
set -euo pipefail
[ $# -ge 2 ] || {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
}
hosts=$1
shift
first=${hosts%%[,:]*}

# mpirun tells no rank where rank 0 is, so MASTER_ADDR does. Threads of a rank are the business of
# eellm (train.threads), so ranks are bound to no cores.
exec mpirun --host "$hosts" -x MASTER_ADDR="$first" --bind-to none --tag-output "$@"
