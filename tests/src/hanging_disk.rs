//! A disk that hangs, as one process sees it: what it syncs does not come back until the disk goes on.

use crate::process::{Running, wait_until};
use handover_skips::Lack;
use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// How long a call hangs where nothing is dropped before, in microseconds.
const DELAY: &str = "600000000";
/// Longest wait for all threads to be traced.
const ATTACHED: Duration = Duration::from_secs(30);

/// strace on a process, which holds each of its fsync(2) before it begins. The disk goes on when this is dropped.
#[derive(Debug)]
pub struct HangingDisk {
    // The kernel lets go what a killed tracer holds, ptrace(2).
    _tracer: Running,
}

impl HangingDisk {
    /// Of this process; `None`, and a line that says so, where it cannot be traced.
    #[must_use]
    pub fn of(pid: u32, folder: &Path) -> Option<Self> {
        let can = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
        if !can.is_ok_and(|output| output.status.success()) {
            Lack::Tracing.skips("a disk that hangs");
            return None;
        }
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=fsync,fdatasync"]);
        command.args(["-e", &format!("inject=fsync,fdatasync:delay_enter={DELAY}")]);
        command.args(["-o", "/dev/null", "-p", &pid.to_string()]).stdin(Stdio::null());
        let tracer = Running::start_command(folder, &format!("strace-{pid}"), command);
        wait_until(ATTACHED, "strace to be attached", || tracer.stderr().contains("attached"));
        Some(Self { _tracer: tracer })
    }
}
