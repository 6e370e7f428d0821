//! A server's process: run as the user that its package made, and ended for certain.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, chown};

/// A command that runs as `user` where this process is root; these servers refuse root. It ends when this process does.
pub(crate) fn as_user(user: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some(user) = other_user(user) {
        command
            .arg(format!("--reuid={}", user.uid))
            .arg(format!("--regid={}", user.gid))
            .arg("--clear-groups");
    }
    command
        .arg(program)
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    // Signals of a terminal are for the test, which then ends it.
    command.process_group(0);
    command
}

fn other_user(name: &str) -> Option<User> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    Some(
        User::from_name(name)
            .expect("users can be read")
            .unwrap_or_else(|| panic!("there is no user {name}: its package makes it")),
    )
}

/// Gives a file or folder to the user that the server runs as.
pub(crate) fn give(path: &Path, user: &str) {
    if let Some(user) = other_user(user) {
        chown(path, Some(user.uid), Some(user.gid)).expect("root gives files away");
    }
}

/// A server that runs.
pub(crate) struct Server {
    child: Option<Child>,
}

impl Server {
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let log = fs::OpenOptions::new().create(true).append(true).open(log).expect("the log can be written");
        let errors = log.try_clone().expect("a descriptor is doubled");
        let child = command.stdout(log).stderr(errors).spawn().expect("the server starts");
        Self { child: Some(child) }
    }

    fn pid(&self) -> Option<Pid> {
        self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok()).map(Pid::from_raw)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// kill -9 of it and of every process that it has made.
    pub(crate) fn kill(&mut self) {
        let Some(pid) = self.pid() else { return };
        // Stopped first, so that it makes no further ones meanwhile.
        let _ = kill(pid, Signal::SIGSTOP);
        let children = children(pid);
        let _ = kill(pid, Signal::SIGKILL);
        for child in &children {
            let _ = kill(*child, Signal::SIGKILL);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        // A process that was killed is gone a moment later; until then it holds the shared memory.
        let until = Instant::now() + Duration::from_secs(20);
        while children.iter().any(|child| is_there(*child)) {
            assert!(Instant::now() < until, "processes of the server are there still");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill(pid, signal);
        }
    }

    /// Ends it in an orderly way, or in the other one.
    pub(crate) fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        let until = Instant::now() + Duration::from_secs(15);
        while self.is_running() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }
}

fn children(pid: Pid) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

/// Whether it is there and not dead already.
fn is_there(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Waits for a server.
pub(crate) fn wait_for(what: &str, log: &Path, mut ready: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !ready() {
        if Instant::now() >= until {
            panic!("{what} is not ready after a minute:\n{}", fs::read_to_string(log).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address").port()
}
