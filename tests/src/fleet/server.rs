//! The server's process.

use crate::process::{Running, binary, wait_until};
use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The configuration of a server in this folder, empty where the test has written none: what is said on the machine that
/// a test runs on must not matter to it.
#[must_use]
pub fn without_settings(folder: &Path) -> PathBuf {
    let path = folder.join("server.toml");
    if !path.exists() {
        std::fs::write(&path, "").unwrap();
    }
    path
}

/// A server that can be killed and started again on the same data.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    address: SocketAddr,
    arguments: Vec<String>,
    process: Option<Running>,
}

impl Server {
    /// Starts one in this folder, with more arguments, and waits until it answers.
    #[must_use]
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        // A port of its own that it keeps when it is started again.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { folder: folder.to_owned(), address, arguments, process: None };
        server.restart();
        server
    }

    /// HOST:PORT for agents.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The operators' socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("handover.sock")
    }

    /// SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it (again) and waits until it answers.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// As [`restart`](Self::restart), with these variables in its environment.
    pub fn restart_with(&mut self, environment: &[(&str, &str)]) {
        self.kill();
        let config = without_settings(&self.folder);
        let mut command = Command::new(binary("handover"));
        command
            .args([
                "server",
                "--data",
                self.folder.join("server").to_str().unwrap(),
                "--listen",
                &self.address.to_string(),
                "--unix",
                self.socket().to_str().unwrap(),
                "--metrics",
                "127.0.0.1:0",
                "--config",
                config.to_str().unwrap(),
            ])
            .args(&self.arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null());
        let process = Running::start_command(&self.folder, "server", command);
        wait_until(super::UP, "the server to be ready", || {
            process.stderr().contains("handover server ready")
        });
        self.process = Some(process);
    }

    /// Its process id.
    ///
    /// # Panics
    /// Where it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    /// Where it tells its metrics and health.
    #[must_use]
    pub fn metrics(&self) -> SocketAddr {
        super::metrics_address(&self.log())
    }

    /// Everything that it wrote to standard error since it was started last.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Running::stderr).unwrap_or_default()
    }
}
