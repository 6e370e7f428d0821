//! The runner as a process of its own, for killing it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use handover_schema_testing::Release;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The runner as a process of its own.
pub(crate) struct Runner(Child);

impl Runner {
    pub(crate) fn start(address: &str, release: &Release, phase: &str, options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_migrate-once"));
        command.arg(address).arg(release.path()).arg(phase).args(options);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// What it told, once it has ended, by itself or not.
    pub(crate) fn to_the_end(mut self) -> Vec<String> {
        let out = BufReader::new(self.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut lines: Vec<String> = out.collect();
        let errors = BufReader::new(self.0.stderr.take().unwrap()).lines().map_while(Result::ok);
        lines.extend(errors.map(|line| format!("error: {line}")));
        self.0.wait().unwrap();
        lines
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
