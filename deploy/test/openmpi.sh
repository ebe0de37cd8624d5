#!/usr/bin/env bash
# Runs a job of two ranks under Open MPI's mpirun on this machine, on the loopback interface.
#
#   deploy/test/openmpi.sh [COMMAND...]     default: eellm ranks --tp 2
#
# Needs mpirun (Debian: openmpi-bin).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
eellm=${EELLM:-$root/eellm}
[ $# -gt 0 ] || set -- "$eellm" ranks --tp 2 --timeout 120

"$eellm" --version >&2 # Builds now, if at all, and not once a rank.
# Cores are not bound to ranks here: the machine may have fewer than two.
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
  mpirun -np 2 --map-by :OVERSUBSCRIBE --bind-to none "$@"
