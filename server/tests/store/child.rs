//! Tests that run themselves again in processes of their own.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

const ROLE: &str = "HANDOVER_TEST_ROLE";
const FOLDER: &str = "HANDOVER_TEST_FOLDER";
/// How a line for the parent begins: the test harness writes lines of its own.
const MARK: &str = "child: ";
const DEADLINE: Duration = Duration::from_secs(120);

/// The part that this process plays and its folder, where it is the child of a test.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(FOLDER)?.into()))
}

/// Says a line to the parent.
pub(crate) fn say(line: &str) {
    println!("{MARK}{line}");
}

/// A test that plays a part.
pub(crate) struct Player {
    child: Child,
    lines: Receiver<String>,
    deadline: Instant,
}

/// Runs the test `test` of this binary in a process of its own, to play `role` in `folder`.
pub(crate) fn play(test: &str, role: &str, folder: &Path) -> Player {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    start(command, role, folder)
}

/// The same, with a shell's `set_up` before it.
pub(crate) fn play_after(set_up: &str, test: &str, role: &str, folder: &Path) -> Player {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{set_up}; exec \"$0\" \"$1\" --exact --nocapture --test-threads=1")]);
    command.arg(std::env::current_exe().unwrap()).arg(test);
    start(command, role, folder)
}

fn start(mut command: Command, role: &str, folder: &Path) -> Player {
    let mut child = command.env(ROLE, role).env(FOLDER, folder).stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            // The harness writes the test's name without a line break before the first line.
            if let Some((_, said)) = line.split_once(MARK)
                && sender.send(said.to_owned()).is_err()
            {
                return;
            }
        }
    });
    Player { child, lines, deadline: Instant::now() + DEADLINE }
}

impl Player {
    /// The next line that it says; `None` once it has ended.
    pub(crate) fn hear(&mut self) -> Option<String> {
        match self.lines.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                panic!("the child said nothing until the deadline")
            }
        }
    }

    /// SIGKILL, and what it had said until then.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.lines.recv_timeout(DEADLINE).ok()).collect()
    }

    /// What it says until it ends by itself, which must be well.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let said: Vec<String> = std::iter::from_fn(|| self.hear()).collect();
        assert!(self.child.wait().unwrap().success(), "the child failed after saying {said:?}");
        said
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // Where the test failed in between; an error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `body` in a process of its own, with an empty folder.
pub(crate) fn in_own_process(test: &str, body: impl FnOnce(&Path)) {
    match role() {
        Some((_, folder)) => body(&folder),
        None => {
            let folder = tempfile::tempdir().unwrap();
            play(test, "body", folder.path()).finish();
        }
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
