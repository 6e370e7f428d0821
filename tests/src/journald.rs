//! A journald of a test's own, in mounts that nothing else is in: what a host with systemd has.

use handover_skips::Lack;
use std::{path::Path, process::Command};

const JOURNALD: &str = "/lib/systemd/systemd-journald";

/// Starts journald over a fresh /run, in a network of its own (it would else listen to the kernel's audit), and becomes
/// the program once it listens. It ends with the program, however that ends.
const SCRIPT: &str = r#"
set -eu
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/systemd/journal /run/log/journal
[ -s /etc/machine-id ] || { echo 0123456789abcdef0123456789abcdef >/run/id; mount --bind /run/id /etc/machine-id; }
setpriv --pdeathsig KILL unshare --net /lib/systemd/systemd-journald >/run/journald.log 2>&1 &
for attempt in $(seq 400); do systemd-cat true 2>/dev/null && exec "$@"; sleep 0.05; done
echo "journald does not listen:" >&2; cat /run/journald.log >&2; exit 1
"#;

/// Whether one can be started here; says so where not.
#[must_use]
pub fn can_be_started() -> bool {
    if !nix::unistd::Uid::effective().is_root() {
        Lack::Root.skips("a journald of the test's own");
        return false;
    }
    let there = Path::new(JOURNALD).exists();
    if !there {
        Lack::Program { name: JOURNALD, package: "systemd" }.skips("a journald of the test's own");
    }
    there
}

/// The command beside a journald: its process becomes the command's.
#[must_use]
pub fn beside(command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--mount", "--propagation", "private", "bash", "-c", SCRIPT, "journald"]);
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped
}
