//! A process that ends with the test that started it.

use super::wait_until;
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

/// How much of standard error is shown when a test fails, in bytes.
const TAIL: usize = 4096;

/// A child process with its output in files. Dropping it kills it; its own children are its own affair.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    out: Output,
    err: Output,
}

/// A file that the process appends to, and where this start of it began.
#[derive(Debug)]
struct Output {
    path: PathBuf,
    begins: u64,
}

impl Output {
    fn open(path: PathBuf) -> (Self, File) {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
        let begins = file.metadata().unwrap().len();
        (Self { path, begins }, file)
    }

    fn read(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.path)
            && file.seek(SeekFrom::Start(self.begins)).is_ok()
        {
            // What was read until an error is still worth showing.
            let _ = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Running {
    /// Starts `program` with its output appended to `NAME.out` and `NAME.err` in `folder`, which is made.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(
        folder: &Path,
        name: &str,
        program: PathBuf,
        args: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        Self::start_command(folder, name, command)
    }

    /// As [`start`](Self::start), with an environment, descriptors or a standard input that the caller has set.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start_command(folder: &Path, name: &str, mut command: Command) -> Self {
        fs::create_dir_all(folder)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        let (out, stdout) = Output::open(folder.join(format!("{name}.out")));
        let (err, stderr) = Output::open(folder.join(format!("{name}.err")));
        let child = command.stdout(stdout).stderr(stderr).spawn();
        let child =
            child.unwrap_or_else(|error| panic!("cannot start {}: {error}", command.get_program().display()));
        Self { name: name.to_owned(), child, out, err }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard output since this start.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.out.read()
    }

    /// What it wrote to standard error since this start.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.err.read()
    }

    /// It has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        // Without reaping, so that the exit status stays there for whoever asks for it.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        matches!(waitid(Id::Pid(self.as_pid()), flags), Ok(WaitStatus::StillAlive))
    }

    /// Sends a signal. One that has ended is no error.
    pub fn signal(&self, signal: Signal) {
        // Not reaped before this value is dropped or waited for: nobody else can have this pid. After it `is_running` is false.
        if self.is_running() {
            let _ = kill(self.as_pid(), signal);
        }
    }

    /// SIGKILL; returns once it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// Where it has not ended by the deadline.
    #[track_caller]
    pub fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(deadline)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it has not ended by the deadline.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} (pid {}) to end", self.name, self.pid());
        wait_until(deadline, &what, || !self.is_running());
        self.child.wait().unwrap()
    }

    fn as_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn end(&mut self) {
        // Both fail only where it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        if thread::panicking() {
            let stderr = self.stderr();
            let tail = String::from_utf8_lossy(&stderr.as_bytes()[stderr.len().saturating_sub(TAIL)..]);
            eprintln!("--- the end of {} ({}):\n{tail}", self.name, self.err.path.display());
        }
    }
}
