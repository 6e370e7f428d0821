#!/bin/sh
# Runs as a service on the host that try.sh makes, with the host's own systemd. Prints a line for each thing checked;
# the first that does not hold ends it. Then the host is switched off.
set -eu
finish() {
  code=$?
  if [ "$code" != 0 ]; then
    journalctl --no-pager --quiet --lines 60 --unit handover-server --unit handover-agent
    [ ! -s /root/load.err ] || cat /root/load.err
    echo "FAILED with $code"
  fi
  systemctl --no-block poweroff
}
trap finish EXIT

now() { cut -d. -f1 /proc/uptime; }
# until_true SECONDS WHAT COMMAND...: waits until the command succeeds.
until_true() {
  deadline=$(($(now) + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$(now)" -le "$deadline" ] || { echo "waited in vain: $what"; exit 1; }
    sleep 0.1
  done
  echo "ok: $what"
}
# same WHAT WANTED FOUND
same() {
  [ "$2" = "$3" ] || { echo "$1: wanted '$2', found '$3'"; exit 1; }
  echo "ok: $1${3:+: $3}"
}
property() { systemctl show --property="$2" --value "$1"; }
instances() { pgrep --full -- 'bin/web --version' || true; }
online() { handover hosts list --json | grep -q '"online":true'; }
told() { property "$1" StatusText | grep -qF "$2"; }
descriptors() { sed -n 's/^Max open files *[0-9]* *\([0-9]*\).*/\1/p' "/proc/$1/limits"; }
# A host in a container cannot have more than the machine gives it.
at_most_the_hosts() { [ "$1" -le "$(descriptors 1)" ] && echo "$1" || descriptors 1; }
exit_code() { "$@" >/dev/null 2>&1 && echo 0 || echo $?; }
release() {
  mkdir -p "/root/$1/bin"
  cp /usr/bin/sample-service "/root/$1/bin/web"
  cat >"/root/$1/handover.toml" <<EOF
service = "web"
command = ["bin/web", "--version", "$1"]
user = "daemon"
[listeners]
http = "{host.address}:8080"
[readiness]
kind = "http"
path = "/ready"
[rollout]
bake = "200ms"
EOF
  handover release push "/root/$1" --version "$1"
  handover deploy web --version "$1" --yes | tail -n 2
}

echo "--- installed, on $(systemctl --version | head -n 1)"
systemd-sysusers
systemd-tmpfiles --create
/lib/systemd/systemd-sysctl /usr/lib/sysctl.d/90-handover.conf
same "net.ipv4.tcp_migrate_req" 1 "$(cat /proc/sys/net/ipv4/tcp_migrate_req)"

echo "--- the server"
systemctl start handover-server
server=$(property handover-server MainPID)
same "it runs as" handover "$(ps -o user= -p "$server" | tr -d ' ')"
same "capabilities that it can get" 0000000000000000 "$(sed -n 's/^CapBnd:\t//p' "/proc/$server/status")"
same "its system calls are filtered" 2 "$(sed -n 's/^Seccomp:\t//p' "/proc/$server/status")"
same "descriptors that it may have" "$(at_most_the_hosts 65536)" "$(descriptors "$server")"
useradd --groups handover alice
same "who is in its group may use it" 0 "$(exit_code runuser -u alice -- handover hosts list)"
useradd bob
same "who is not cannot reach it" 5 "$(exit_code runuser -u bob -- handover hosts list)"
token=$(handover token create --address 127.0.0.1:7443)

echo "--- the agent"
echo "$token" | handover-agent join --name try --address 127.0.0.1
systemctl start handover-agent
until_true 30 "the host is online" online
release v1
until_true 20 "systemctl status counts agents" told handover-server "agents connected: 1 of 1"
until_true 20 "systemctl status counts instances" told handover-agent "instances: 1 (1 ready"
pid=$(instances)
same "the instance runs as" daemon "$(ps -o user= -p "$pid" | tr -d ' ')"
same "the instance's cgroup is its own" 0::/handover-try/web-d1 "$(grep '^0::' "/proc/$pid/cgroup")"
same "descriptors that the instance may have" "$(at_most_the_hosts 524288)" "$(descriptors "$pid")"
if sh -c 'echo -900 >/proc/self/oom_score_adj' 2>/dev/null; then
  same "the agent is spared by the OOM killer" -900 "$(cat "/proc/$(property handover-agent MainPID)/oom_score_adj")"
else
  echo "not checked: OOMScoreAdjust=, as this machine lets nobody be spared"
fi
same "its instance is not spared" 0 "$(cat "/proc/$pid/oom_score_adj")"
systemd-run --quiet --unit=load --property=StandardOutput=file:/root/load.json --property=StandardError=file:/root/load.err \
  load --target 127.0.0.1:8080 --one-per-request 4 --rate 200 --seconds 600 --json

echo "--- under load: the agent is started again, stopped, killed, stuck; systemd itself is started anew"
systemctl restart handover-agent
until_true 20 "started again, the agent has its instance" told handover-agent "instances: 1 (1 ready"
same "the instance after the agent's restart" "$pid" "$(instances)"
systemctl stop handover-agent
same "the agent is stopped" inactive "$(property handover-agent ActiveState)"
sleep 3
same "the instance while no agent runs" "$pid" "$(instances)"
systemctl daemon-reexec
same "the instance after systemd's own restart" "$pid" "$(instances)"
systemctl start handover-agent
until_true 20 "the host is online" online
killed=$(property handover-agent MainPID)
kill -KILL "$killed"
until_true 20 "systemd starts an agent that was killed" told handover-agent "instances: 1 (1 ready"
until_true 20 "the host is online" online
[ "$killed" != "$(property handover-agent MainPID)" ]
same "the instance after the agent's kill" "$pid" "$(instances)"
mkdir -p /run/systemd/system/handover-agent.service.d
printf '[Service]\nWatchdogSec=6\n' >/run/systemd/system/handover-agent.service.d/short.conf
systemctl daemon-reload
systemctl restart handover-agent
stuck=$(property handover-agent MainPID)
sleep 15
same "an agent that beats is left alone by a watchdog of 6 s" "$stuck" "$(property handover-agent MainPID)"
kill -STOP "$stuck"
until_true 40 "one that is stuck is ended by it" journalctl --quiet --unit handover-agent --grep "Watchdog timeout"
until_true 40 "and started again" sh -c '[ "$(systemctl show -P StatusText handover-agent | grep -c "1 ready")" = 1 ] && systemctl is-active handover-agent'
same "the instance after that" "$pid" "$(instances)"
until_true 40 "the host is online" online

echo "--- under load: the server is started again, and a release deployed"
systemctl restart handover-server
until_true 40 "the host is online" online
release v2
same "instances that run" 1 "$(instances | wc -l)"
[ "$pid" != "$(instances)" ]
same "starts of the server that nobody asked for" 0 "$(property handover-server NRestarts)"

echo "--- the load"
systemctl kill --signal=TERM load
until_true 20 "it has ended" sh -c '! systemctl is-active --quiet load'
echo "requests: $(sed -n 's/.*"requests":\([0-9]*\).*/\1/p' /root/load.json)"
same "requests that failed" 0 "$(sed -n 's/.*"failed":\([0-9]*\).*/\1/p' /root/load.json)"

echo "--- the end"
systemctl stop handover-server handover-agent
same "the server's end" success "$(property handover-server Result)"
same "the agent's end" success "$(property handover-agent Result)"
same "sockets that could not be taken over" 0 "$(journalctl --quiet --unit handover-agent --output cat | grep -c 'cannot be taken out' || true)"
same "complaints of the server's sandbox" 0 "$(journalctl --quiet --unit handover-server --output cat | grep -c 'ermission\|EPERM' || true)"
journalctl --no-pager --quiet --unit handover-server --unit handover-agent --lines 20
echo DONE
