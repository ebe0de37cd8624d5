# A Slurm cluster of this machine's own with two nodes (127.0.0.1 and 127.0.0.2), which ends with the
# script that sources this. Needs root, and slurmctld, slurmd and munged (Debian: slurm-wlm and
# munge). Nothing of an installed Slurm's configuration is read or changed.
# Sets work, a folder, and second, the process of the second node.
work=$(mktemp -d)
pids=()
end_cluster() {
  status=$?
  if scancel --quiet --user "$(id -un)" 2>/dev/null; then # Or what a job has started goes on.
    for _ in $(seq 100); do
      squeue --noheader 2>/dev/null | grep -q . || break
      sleep 0.1
    done
  fi
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
SlurmdTimeout=10
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
second=$! # node
for _ in $(seq 300); do
  [ "$(sinfo --noheader --states=idle --format=%D 2>/dev/null | tail -n 1)" != 2 ] || break
  sleep 0.1
done
sinfo >&2
