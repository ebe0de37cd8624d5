#!/usr/bin/env bash
# Tries what `mvn -Pdist package` has made, in systems of Debian's own that have no Java: the tarball, the Debian package
# and the image. Each writes a text, and serves a small model: it gets ready, answers, and drains. Prints sizes and times.
#
#   deploy/test/packages.sh
#
# Needs root, and debootstrap, curl, buildah with netavark, and systemd-analyze (Debian: systemd). Nothing of it outlives it.
set -euo pipefail
# Mounts are this script's alone, and end with it.
[ -n "${EELLM_OWN_MOUNTS:-}" ] || EELLM_OWN_MOUNTS=yes exec unshare --mount "$0" "$@"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tarball=$(echo "$root"/eellm-dist/target/eellm-*.tar.gz)
package=${tarball%.tar.gz}.deb
work=$(mktemp -d)
server=
cgroups=()
finish() {
  status=$?
  [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true
  [ $status -eq 0 ] || tail -n 20 "$work"/*.log >&2
  for group in "${cgroups[@]}"; do
    echo $$ >"${group%/*}/cgroup.procs"
    rmdir "$group"
  done
  umount --lazy "$work"/*/{proc,dev,sys,tmp} "$work/image" 2>/dev/null || true
  rm -rf --one-file-system "$work"
}
trap finish EXIT

# Does something within $system, as a user, with nothing of this shell's environment.
within() { # USER COMMAND...
  chroot --userspec="$1" "$system" /usr/bin/env -i PATH=/usr/bin:/bin HOME="$home" "${@:2}"
}

system() { # NAME
  system=$work/$1
  [ -d "$system" ] || cp -a "$work/debian" "$system"
  mount -t proc proc "$system/proc"
  mount --rbind /dev "$system/dev"
  mount --rbind /sys "$system/sys"
}

# Seconds until each of 5 processes has written the first byte of a text, sorted.
first_tokens() { # USER EELLM
  for _ in 1 2 3 4 5; do
    start=$EPOCHREALTIME
    within "$1" "$2" generate --model /model --prompt 'the cat' --max-tokens 50 --mode full 2>/dev/null | {
      LC_ALL=C IFS= read -r -N 1 _
      echo "$EPOCHREALTIME $start" | awk '{ printf "%.2f\n", $1 - $2 }'
      cat >/dev/null
    }
  done | sort -n | paste -sd ' '
}

# A server is ready, answers, and ends in good order: the text in work is finished, and the exit code is 0.
serves() { # USER COMMAND...
  local start=$EPOCHREALTIME log=$work/server.log address code
  # Not by a function, so that the process is the server itself.
  chroot --userspec="$1" "$system" /usr/bin/env -i PATH=/usr/bin:/bin HOME="$home" "${@:2}" 2>"$log" &
  server=$!
  until address=$(grep -om1 'http://[^ ]*:[0-9]*' "$log"); do
    kill -0 "$server"
    sleep 0.02
  done
  address=http://127.0.0.1:${address##*:}
  code=$(curl -so "$work/live" -w '%{http_code}' "$address/health/live")
  echo "live while the model loads: $code"
  until [ "$(curl -so "$work/ready" -w '%{http_code}' "$address/health/ready")" = 200 ]; do
    kill -0 "$server"
    sleep 0.02
  done
  echo "$EPOCHREALTIME $start" | awk '{ printf "ready after %.2f s\n", $1 - $2 }'
  curl -sN "$address/v1/completions" -H 'Content-Type: application/json' \
    -d '{"prompt": "the cat", "max_tokens": 200, "temperature": 0, "stream": true}' >"$work/stream" &
  local client=$!
  until grep -qs '"text"' "$work/stream"; do kill -0 "$server"; sleep 0.01; done
  kill -TERM "$server"
  wait "$client"
  grep -qx 'data: \[DONE\]' <(tr -d '\r' <"$work/stream")
  code=0
  wait "$server" || code=$?
  server=
  echo "stopped with exit code $code, after $(grep -c '"text"' "$work/stream") parts of a text"
  [ "$code" = 0 ]
}

megabytes() { # PATH
  du -sm "$1" | awk '{ print $1 " MB " }'
}

debootstrap --variant=minbase --include=adduser trixie "$work/debian" >"$work/debootstrap.log"

echo "== tarball: $(megabytes "$tarball")"
system tarball
home=/tmp
tar -xf "$tarball" -C "$system/opt" --no-same-owner
echo "unpacked $(megabytes "$system/opt/eellm")"
[ -z "$(within root:root sh -c 'command -v java || true')" ]
mkdir "$system/model"
# The small model, of random weights.
within root:root /opt/eellm/runtime/bin/java --add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED \
  -cp /opt/eellm/lib/eellm.jar org.eellm.cli.Rehearsal /model >"$work/model.log" 2>&1
cp -a "$system/model" "$work/model"
chmod -R a+rX "$work/model"
echo "first bytes as unpacked, read-only: $(first_tokens nobody:nogroup /opt/eellm/eellm) s"
within root:root /opt/eellm/eellm --version
echo "with what that stored $(megabytes "$system/opt/eellm"), first bytes: $(first_tokens nobody:nogroup /opt/eellm/eellm) s"
within nobody:nogroup /opt/eellm/eellm doctor --seconds 0.1 | grep -E '^(libtorch|eellm)'
serves nobody:nogroup /opt/eellm/eellm serve --model /model --port 0

echo "== Debian package: $(megabytes "$package")"
system package
home=/var/lib/eellm
cp "$package" "$system/tmp/eellm.deb"
chroot "$system" dpkg --install /tmp/eellm.deb
rm "$system/tmp/eellm.deb"
echo "installed $(megabytes "$system/usr/lib/eellm")"
# This machine's systemd looks at it, which has no such command.
sed 's:^ExecStart=/usr/bin/eellm:ExecStart=/bin/true:' "$system/usr/lib/systemd/system/eellm.service" >"$work/eellm.service"
systemd-analyze verify --man=no "$work/eellm.service"
cp -a "$work/model" "$system/model"
cp -a "$work/model" "$system/var/lib/eellm/model"
chroot "$system" chown -R eellm: /var/lib/eellm/model
sed -i 's/^port: .*/port: 0/' "$system/etc/eellm/serve.yaml"
echo "first bytes: $(first_tokens eellm:eellm /usr/bin/eellm) s"
start=$(sed -n 's/^ExecStart=//p' "$system/usr/lib/systemd/system/eellm.service")
# shellcheck disable=SC2086 # Its words.
serves eellm:eellm $start
chroot "$system" dpkg --remove eellm
[ -e "$system/etc/eellm/serve.yaml" ] && [ ! -e "$system/usr/lib/eellm" ]
chroot "$system" dpkg --purge eellm
[ ! -e "$system/etc/eellm/serve.yaml" ] && [ -e "$system/var/lib/eellm/model" ]

echo "== image"
tar -cC "$work/debian" . >"$work/debian.tar"
images=(buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run")
base=$("${images[@]}" from scratch)
"${images[@]}" add --quiet "$base" "$work/debian.tar" / >/dev/null
"${images[@]}" commit --quiet "$base" localhost/debian:trixie-slim >/dev/null
"${images[@]}" rm "$base" >/dev/null
rm "$work/debian.tar"
# The limits that there are, since it may not raise them everywhere.
limits=(--ulimit "nofile=$(ulimit -Hn):$(ulimit -Hn)" --ulimit "nproc=$(ulimit -Hu):$(ulimit -Hu)")
"${images[@]}" build --isolation chroot "${limits[@]}" --from localhost/debian:trixie-slim --tag eellm:serve \
  -f "$root/deploy/docker/serve.Dockerfile" "$root/eellm-dist/target" >"$work/build.log" 2>&1
container=$("${images[@]}" from localhost/eellm:serve)
mkdir -p "$("${images[@]}" mount "$container")/model"
mkdir "$work/image"
mount --bind "$("${images[@]}" mount "$container")" "$work/image"
mount -o remount,bind,ro "$work/image"
system image
home=/tmp
mount --bind "$work/model" "$system/model"
mount -o remount,bind,ro "$system/model"
mount -t tmpfs -o size=256m,mode=1777 tmpfs "$system/tmp"
if within root:root touch /opt/eellm/lib/written 2>/dev/null; then exit 1; fi
user=$("${images[@]}" inspect --format '{{.OCIv1.Config.User}}' "$container")
mapfile -t start < <("${images[@]}" inspect --type image \
  --format '{{range .OCIv1.Config.Entrypoint}}{{println .}}{{end}}{{range .OCIv1.Config.Cmd}}{{println .}}{{end}}' \
  localhost/eellm:serve | grep .)
echo "as user $user: ${start[*]}"
echo "first bytes: $(first_tokens "$user" /opt/eellm/eellm) s"
limited=(setpriv --no-new-privs)
# A limit of 1 GiB and one processor, by the control groups that there are.
if [ -d /sys/fs/cgroup/memory ]; then
  for controller in memory cpu; do
    cgroups+=("/sys/fs/cgroup/$controller/eellm-test-$$")
    mkdir "${cgroups[-1]}"
  done
  echo 1073741824 >"${cgroups[0]}/memory.limit_in_bytes"
  echo 100000 >"${cgroups[1]}/cpu.cfs_quota_us"
else
  cgroups=("/sys/fs/cgroup/eellm-test-$$")
  mkdir "${cgroups[0]}"
  echo 1073741824 >"${cgroups[0]}/memory.max"
  echo '100000 100000' >"${cgroups[0]}/cpu.max"
fi
for group in "${cgroups[@]}"; do echo $$ >"$group/cgroup.procs"; done
within "$user" "${limited[@]}" /opt/eellm/eellm doctor --seconds 0.1 | grep -E '^(memory|processor)' | tee "$work/doctor"
grep -q '^memory  *1.0 GiB' "$work/doctor"
grep -q '^processor  *1 cores' "$work/doctor"
serves "$user" "${limited[@]}" "${start[@]}" --port 0
