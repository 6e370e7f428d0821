//! Programs in a network of their own: with a loopback interface that nobody else is on, so that fixed ports are free.

use std::process::Command;

/// Brings up the loopback interface, then becomes the program.
const SCRIPT: &str = "ip link set lo up && exec \"$@\"";

/// A command in a network namespace of its own, which is gone with its last process. Needs root, unshare(1) and ip(8).
///
/// # Panics
/// Without a program.
#[must_use]
pub fn alone(words: &[&str]) -> Command {
    assert!(!words.is_empty(), "no program");
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", SCRIPT, "network"]).args(words);
    command
}
