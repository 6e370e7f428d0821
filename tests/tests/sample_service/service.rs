//! A sample service of a test.

use handover_tests::process::{Running, binary, wait_until};
use std::{
    ffi::OsStr,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// For whatever should happen soon, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A running sample service, with its folder.
pub(crate) struct Service {
    pub(crate) process: Running,
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
}

impl Service {
    /// One that has bound a free port itself.
    pub(crate) fn listening(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags = ["--listen", "127.0.0.1:0"].iter().chain(flags);
        let process = Running::start(folder.path(), "sample", binary("sample-service"), flags);
        Self::up(process, folder)
    }

    /// One that was given this listener by the sockets-activation convention.
    pub(crate) fn inheriting(listener: &TcpListener, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = inheriting(listener, "LISTEN_PID=$$");
        command.args(flags);
        let process = Running::start_command(folder.path(), "sample", command);
        Self::up(process, folder)
    }

    fn up(process: Running, folder: TempDir) -> Self {
        let address = || {
            let stdout = process.stdout();
            let line = stdout.split_inclusive('\n').find(|line| line.ends_with('\n'))?;
            line.strip_prefix("listening on ")?.split(' ').next()?.parse().ok()
        };
        wait_until(SOON, "the service to listen", || address().is_some() || !process.is_running());
        let address = address().unwrap_or_else(|| panic!("it ended: {}", process.stderr()));
        Self { process, address, folder }
    }

    /// What it says of itself.
    pub(crate) fn stats(&self) -> serde_json::Value {
        let answer = handover_tests::http::get(self.address, "/stats").unwrap();
        serde_json::from_str(&answer.body).unwrap()
    }
}

/// The service with one listener, as its standard input first: the shell puts it where the convention wants it, with the
/// pid that only the new process knows.
pub(crate) fn inheriting(listener: &TcpListener, set_pid: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("{set_pid}; export LISTEN_PID; exec \"$@\" 3<&0 </dev/null"), "sh"])
        .arg(binary("sample-service"))
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "http")
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
    command
}

/// Runs the program to its end.
pub(crate) fn ended<S: AsRef<OsStr>>(flags: impl IntoIterator<Item = S>) -> (Option<i32>, String) {
    let output = Command::new(binary("sample-service")).args(flags).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}
