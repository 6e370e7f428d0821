#!/bin/sh
# try.sh [PROGRAMS]: a host with a systemd of its own, on which the units of systemd/ do what they are there for. Prints
# what was checked, and ends with 0 if all of it held. PROGRAMS is the folder of the built programs (target/debug).
#
# The host has a root folder of its own (an overlay on a Debian that is made once, in target/systemd-host, or in
# HANDOVER_SYSTEMD_HOST), and its own network, process and mount namespaces: it sees nothing of this machine, and ends
# with the script. Needs root, and Debian's debootstrap and systemd-container.
set -eu
cd "$(dirname "$0")/../.."
programs=${1:-target/debug}
base=${HANDOVER_SYSTEMD_HOST:-target/systemd-host}
# Seconds; longer than all of it takes on a slow machine.
limit=600

for tool in debootstrap systemd-nspawn; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install debootstrap systemd-container" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "root is needed: to make a host" >&2; exit 1; }

if [ ! -d "$base" ]; then
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  echo "making a Debian $release in $base"
  rm -rf "$base.new"
  mkdir -p "$(dirname "$base")"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps "$release" "$base.new" >"$base.log"
  mv "$base.new" "$base"
fi

dir=$(mktemp -d)
root=$dir/root
host=
cleanup() {
  # Its own child only; the host's processes end with their first one.
  [ -z "$host" ] || kill "$host" 2>/dev/null || true
  [ -z "$host" ] || wait "$host" 2>/dev/null || true
  umount "$root" 2>/dev/null || umount --lazy "$root" 2>/dev/null || true
  rm -rf --one-file-system "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
mkdir "$dir/up" "$dir/work" "$root"
mount -t overlay overlay -o "lowerdir=$(realpath "$base"),upperdir=$dir/up,workdir=$dir/work" "$root"

install -D -m 0755 -t "$root/usr/bin" "$programs/handover" "$programs/handover-agent" "$programs/load" "$programs/sample-service"
install -D -m 0644 -t "$root/usr/lib/systemd/system" systemd/handover-server.service systemd/handover-agent.service
for kind in sysusers.d tmpfiles.d sysctl.d; do
  install -D -m 0644 -t "$root/usr/lib/$kind" systemd/$kind/*
done
install -D -m 0755 tests/systemd/inside.sh "$root/usr/lib/handover-try"
install -d "$root/etc/systemd/system/multi-user.target.wants"
cat >"$root/etc/systemd/system/handover-try.service" <<'EOF'
[Service]
Type=exec
ExecStart=/usr/lib/handover-try
StandardOutput=append:/root/try.txt
StandardError=inherit
EOF
ln -s /etc/systemd/system/handover-try.service "$root/etc/systemd/system/multi-user.target.wants/"
: >"$root/root/try.txt"

# pidfd_getfd(2): what an agent takes its sockets back with; a host that is no container allows it.
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout --kill-after=10 "$limit" systemd-nspawn --quiet --machine="handover-try-$$" \
  --directory="$root" --private-network --register=no --keep-unit \
  --system-call-filter=pidfd_getfd --boot >"$dir/console.txt" 2>&1 </dev/null &
host=$!
tail --pid="$host" -n +1 -f "$root/root/try.txt"
wait "$host" || true
host=
[ "$(tail -n 1 "$root/root/try.txt")" = DONE ] || {
  echo "--- the host's console" >&2
  tail -n 20 "$dir/console.txt" >&2
  exit 1
}
