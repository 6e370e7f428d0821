//! The command line, run for its outcome.

use crate::process::binary;
use serde_json::Value;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The `handover` command on one server's socket.
#[derive(Clone, Debug)]
pub struct Cli {
    socket: PathBuf,
}

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl Cli {
    /// The command on this socket.
    #[must_use]
    pub fn on(socket: impl AsRef<Path>) -> Self {
        Self { socket: socket.as_ref().to_owned() }
    }

    /// The command, to be run by the caller.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(binary("handover"));
        command.args(args).env("HANDOVER_SOCKET", &self.socket).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Done {
        let output = self.command(args).output().unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Done {
    /// Fails the test where it ended otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Its lines as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Vec<Value> {
        let read = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{}", self.stderr))
        };
        self.stdout.lines().filter(|line| !line.is_empty()).map(read).collect()
    }

    /// The last of its lines as JSON: a deployment's end.
    #[track_caller]
    #[must_use]
    pub fn last(&self) -> Value {
        self.json().pop().unwrap_or_else(|| panic!("nothing was printed; stderr:\n{}", self.stderr))
    }
}
