#!/usr/bin/env bash
# Runs a job of two ranks under Slurm on this machine: starts a cluster of its own with two nodes
# (127.0.0.1 and 127.0.0.2), submits a batch job with one rank a node, and ends the cluster again.
#
#   deploy/test/slurm.sh [COMMAND...]     default: eellm ranks --tp 2
#
# Needs root, and slurmctld, slurmd and munged (Debian: slurm-wlm and munge). Nothing of an
# installed Slurm's configuration is read or changed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
eellm=${EELLM:-$root/eellm}
[ $# -gt 0 ] || set -- "$eellm" ranks --tp 2 --timeout 120
"$eellm" --version >&2 # Builds now, if at all, and not once a rank.

work=$(mktemp -d)
pids=()
end_cluster() {
  status=$?
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  [ $status -eq 0 ] || tail -n 20 "$work"/*.log >&2
  rm -rf "$work"
}
trap end_cluster EXIT

# Ranks of a job are told apart by credentials that munge signs.
dd if=/dev/urandom of="$work/munge.key" bs=1024 count=1 status=none
chmod 400 "$work/munge.key"
chmod 755 "$work"
munged --foreground --force --key-file "$work/munge.key" --socket "$work/munge.socket" \
  --pid-file "$work/munged.pid" --log-file "$work/munged.log" --seed-file "$work/munge.seed" 2>/dev/null &
pids+=($!)

cat >"$work/slurm.conf" <<CONFIGURATION
ClusterName=eellm
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
ReturnToService=2
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool.%n
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.%n.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.%n.log
SelectType=select/cons_tres
NodeName=127.0.0.1 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=16821 CPUs=1
NodeName=127.0.0.2 NodeHostname=$(hostname) NodeAddr=127.0.0.2 Port=16822 CPUs=1
PartitionName=all Nodes=ALL Default=YES State=UP
CONFIGURATION
echo 'CgroupPlugin=disabled' >"$work/cgroup.conf"
export SLURM_CONF=$work/slurm.conf
mkdir "$work/state"

for _ in $(seq 100); do
  [ ! -S "$work/munge.socket" ] || break
  sleep 0.1
done
slurmctld -D 2>/dev/null & # Its log is a file: see the configuration.
pids+=($!)
for node in 127.0.0.1 127.0.0.2; do
  slurmd -D -N "$node" 2>/dev/null &
  pids+=($!)
done
for _ in $(seq 300); do
  [ "$(sinfo --noheader --states=idle --format=%D 2>/dev/null | tail -n 1)" != 2 ] || break
  sleep 0.1
done
sinfo >&2

# The batch script is deploy/slurm's own.
sbatch --wait --nodes 2 --ntasks-per-node 1 --cpus-per-task 1 --output "$work/job.out" \
  "$root/deploy/slurm/job.sbatch" "$@" || {
  cat "$work/job.out" >&2
  exit 1
}
cat "$work/job.out"
