//! Output to a real journald: one of the test's own, in mounts and a network that nothing else is in.

use crate::{
    roles::{command_of, playing},
    support::is_root,
};
use handover_skips::Lack;
use std::{path::Path, process::Command};

const JOURNALD: &str = "/lib/systemd/systemd-journald";

/// Starts journald over a fresh /run, runs the rest of its arguments, prints what journald then has of the service.
/// The daemon ends with the script, and with the network namespace's and mounts' last process they are gone.
const SCRIPT: &str = r#"
set -eu
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/systemd/journal /run/log/journal
[ -s /etc/machine-id ] || { echo 0123456789abcdef0123456789abcdef >/run/id; mount --bind /run/id /etc/machine-id; }
/lib/systemd/systemd-journald >/run/journald.log 2>&1 &
daemon=$!
trap 'kill $daemon' EXIT
# That its socket is there does not say that it listens; systemd-cat fails until it does.
for attempt in $(seq 200); do systemd-cat true 2>/dev/null && break; sleep 0.05; done
"$@"
for attempt in $(seq 200); do
  found=$(journalctl -D /run/log/journal -t web -o cat --no-pager 2>/dev/null || true)
  [ -n "$found" ] && break
  sleep 0.05
done
echo "journald has: $found"
journalctl -D /run/log/journal -t web -o json --no-pager
"#;

/// What a role says that is played beside a journald of its own, for so many seconds at most; `None`, said as skipped,
/// where none can be started.
fn beside_a_journald(role: &str, seconds: &str) -> Option<String> {
    if !is_root() || !Path::new(JOURNALD).exists() {
        let lack = if is_root() { Lack::Program { name: JOURNALD, package: "systemd" } } else { Lack::Root };
        lack.skips("a journald of the test's own");
        return None;
    }
    let (role, played) = playing(role);
    let output = Command::new("timeout")
        .args([seconds, "unshare", "--mount", "--net", "--propagation", "private"])
        .args(["bash", "-c", SCRIPT, "script"])
        .args(command_of(&played))
        .env(role, played)
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    Some(said)
}

/// Whether the cgroup of this test, and so of what it starts, belongs to a unit of systemd.
fn is_in_a_unit() -> bool {
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    cgroups.lines().any(|line| line.contains(".service") || line.contains(".scope"))
}

#[test]
fn what_a_real_journald_has_is_read_and_followed() {
    let Some(said) = beside_a_journald("agent_that_reads_journald", "90") else { return };
    assert!(said.contains("journald was read and followed"), "{said}");
}

#[test]
fn a_real_journald_has_what_a_program_prints() {
    let play = || beside_a_journald("program_that_prints_to_journald", "60");
    let Some(mut said) = play() else { return };
    assert!(said.contains("journald has: hello from web-1"), "{said}");
    if is_in_a_unit() {
        // Then journald may name that one, see `handover_agent::logs`.
        return Lack::NoUnit.skips("the unit that journald names");
    }
    // A journald of systemd 252 leaves the unit out in about one of five such plays; who reads does not rely on it.
    for _ in 0..8 {
        if said.contains("\"_SYSTEMD_UNIT\":\"handover-web-1.service\"") {
            return;
        }
        said = play().unwrap_or_default();
    }
    panic!("the unit is never named: {said}");
}
