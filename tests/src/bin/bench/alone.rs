//! The sample program by itself: without an agent, a gate or a manifest.

use crate::Failed;
use handover_tests::{
    http,
    process::{Running, binary},
};
use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How often it is asked whether it is ready.
const ASKED: Duration = Duration::from_millis(1);
/// Longest wait for that.
const LONGEST: Duration = Duration::from_secs(20);

/// The flags of the program, by itself as behind the gate.
pub(crate) fn flags(version: &str) -> [String; 4] {
    ["--version", version, "--ready-after", "500ms"].map(str::to_owned)
}

/// One that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Alone {
    /// From exec to its first good answer on its readiness path.
    pub(crate) ready_after: Duration,
    process: Running,
}

impl Alone {
    /// Starts it at an address and waits until it is ready. In a session of its own, as an agent starts it: the
    /// kernel's scheduler shares processors between sessions.
    pub(crate) fn start(folder: &Path, name: &str, address: SocketAddr) -> Result<Self, Failed> {
        let mut command = Command::new("setsid");
        command.arg(binary("sample-service")).args(flags(name)).arg("--listen").arg(address.to_string());
        command.stdin(Stdio::null());
        Self::of(folder, name, address, command)
    }

    /// Starts it without the session, so that nothing but the program is in its time.
    pub(crate) fn timed(folder: &Path, name: &str, address: SocketAddr) -> Result<Duration, Failed> {
        let mut command = Command::new(binary("sample-service"));
        command.args(flags(name)).arg("--listen").arg(address.to_string()).stdin(Stdio::null());
        Self::of(folder, name, address, command).map(|alone| alone.ready_after)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid().cast_signed()
    }

    fn of(folder: &Path, name: &str, address: SocketAddr, command: Command) -> Result<Self, Failed> {
        let began = Instant::now();
        let process = Running::start_command(folder, name, command);
        while !http::get(address, "/ready").is_ok_and(|answer| answer.status == 200) {
            if began.elapsed() > LONGEST || !process.is_running() {
                return Err(format!("{name} is not ready at {address}: {}", process.stderr()).into());
            }
            thread::sleep(ASKED);
        }
        Ok(Self { ready_after: began.elapsed(), process })
    }
}
