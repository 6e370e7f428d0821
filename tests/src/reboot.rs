//! Another boot of the machine, played: the kernel's boot id is another one, for one program and what it starts.

use std::{fs, path::Path, process::Command};

/// Where the kernel tells it, random(4).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Shows a file in the place of the kernel's, in mounts of its own, then becomes the program.
const SCRIPT: &str = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";

/// The command as after a boot with this id, which is kept in `folder`. Needs root.
///
/// # Panics
/// Where the id cannot be written there.
#[must_use]
pub fn after(command: &Command, boot_id: &str, folder: &Path) -> Command {
    let own = folder.join("boot_id");
    fs::write(&own, format!("{boot_id}\n")).unwrap();
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "reboot"]);
    wrapped.arg(own).arg(BOOT_ID).arg(command.get_program()).args(command.get_args());
    wrapped
}
