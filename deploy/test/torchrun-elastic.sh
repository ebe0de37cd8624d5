#!/usr/bin/env bash
# Trains under torchrun on this machine, as two nodes with a rank each, loses first a rank amid the
# run and then its node, and checks that deploy/torchrun/elastic.sh goes on with both nodes, and with
# the first one alone.
#
#   deploy/test/torchrun-elastic.sh
#
# Needs torchrun (Debian: python3-torch).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
eellm=${EELLM:-$root/eellm}
"$eellm" --version >&2 # Builds now, if at all, and not once a rank.
work=$(mktemp -d)
nodes=()

# A process and all that it has started.
tree() {
  echo "$1"
  for child in $(pgrep -P "$1" || true); do tree "$child"; done
}

finish() {
  for node in "${nodes[@]}"; do
    mapfile -t all < <(tree "$node")
    kill -9 "${all[@]}" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap finish EXIT

steps=300
. "$root/deploy/test/sums.sh"
# Debian's torch lacks libuv, which its torchrun asks for.
cat >"$work/sitecustomize.py" <<'PYTHON'
import torch.distributed


class Store(torch.distributed.TCPStore):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, use_libuv=False, **options)


torch.distributed.TCPStore = Store
PYTHON
export PYTHONPATH=$work PET_LOCAL_ADDR=127.0.0.1
for node in 0 1; do
  "$root/deploy/torchrun/elastic.sh" 1:2 1 127.0.0.1 "$eellm" train \
    --config "$work/run.yaml" --output "$work/run" --min-replicas 1 >"$work/node$node" 2>&1 &
  nodes+=($!)
  sleep 5 # The nodes meet at the first one.
done

reach() { # STEP
  until grep -qs "\"step\":$1," "$work/run/metrics.jsonl"; do
    kill -0 "${nodes[0]}" || { cat "$work"/node* >&2; exit 1; }
    sleep 0.2
  done
}

reach 15
mapfile -t rank < <(tree "${nodes[1]}" | tail -n +2)
kill -9 "${rank[@]}" 2>/dev/null || true
echo "the second node's rank is lost" >&2

reach 45
[ "$(grep -c '^tp 1 x dp 2 x pp 1: 2 ranks' "$work/node0")" = 2 ]
mapfile -t lost < <(tree "${nodes[1]}")
kill -9 "${lost[@]}" 2>/dev/null || true
echo "the second node is lost" >&2

wait "${nodes[0]}" || { cat "$work/node0" >&2; exit 1; }
cat "$work/node0" >&2
grep 'all 300 steps are done' "$work/node0"
