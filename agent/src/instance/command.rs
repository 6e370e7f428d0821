//! A command beside an instance: started by the launcher like the instance itself, with its user, environment,
//! limits and cgroup, so that it sees what the program sees; in a session of its own, which alone is ended with it.

use super::{
    cgroup::{Containment, Group, Place},
    error::LaunchError,
    launch::{DEFAULT_DEADLINE, Launcher},
    logs,
    process::{ExitStatus, Process},
    spec::{LaunchSpec, LogSink},
};
use rustix::pipe::{PipeFlags, pipe_with};
use std::{io, time::Duration};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    time::{Instant, timeout, timeout_at},
};

/// How long killed processes may take to be gone before the answer is given all the same.
const KILL_WAIT: Duration = Duration::from_secs(2);
/// Lines and characters of a failed command's output that are told.
const LINES: usize = 3;
const CHARACTERS: usize = 600;

/// A command beside an instance.
#[derive(Clone, Debug)]
pub struct SideCommand {
    /// How to start it.
    pub launcher: Launcher,
    /// The instance's spec with this command; its log is replaced.
    pub spec: LaunchSpec,
    /// The instance's cgroup, from [`Place`] of the instance; a session of its own where there is none.
    pub place: Place,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How it ended by itself; `None` where its time was over and it was killed.
    pub status: Option<ExitStatus>,
    /// What it wrote to its standard output and error: the last bytes, as many as were to be kept.
    pub output: Vec<u8>,
    /// Whether there was more.
    pub cut: bool,
}

impl Ran {
    /// Why it did not end well, with its last lines; `None` where it did.
    pub(crate) fn failure(&self, limit: Duration) -> Option<String> {
        let how = match self.status {
            Some(ExitStatus::Code(0)) => return None,
            Some(status) => status.to_string(),
            None => format!("did not end within {limit:?} and was killed"),
        };
        let text = String::from_utf8_lossy(&self.output);
        let lines: Vec<String> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(logs::escape).collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join(" | ");
        let surplus = last.chars().count().saturating_sub(CHARACTERS);
        let last: String = last.chars().skip(surplus).collect();
        Some(if last.is_empty() { how } else { format!("{how}; its last words: {last}") })
    }
}

impl SideCommand {
    /// Its words, cut to a line's length.
    pub(crate) fn subject(&self) -> String {
        self.spec.command.join(" ").chars().take(200).collect()
    }

    /// Runs it and ends, at the latest after `limit`, everything in its session. Of its output the last `kept` bytes
    /// are given back.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run(&self, limit: Duration, kept: usize) -> Result<Ran, LaunchError> {
        self.run_told(limit, kept, |_| Ok(()), |_| {}).await
    }

    /// As [`Self::run`]. `begins` hears of its processes before anything is executed, and may refuse; `said` hears the
    /// last whole line of each piece of its output.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run_told(
        &self,
        limit: Duration,
        kept: usize,
        begins: impl FnOnce(&Group) -> io::Result<()>,
        said: impl FnMut(&str),
    ) -> Result<Ran, LaunchError> {
        let deadline = Instant::now() + limit;
        let failed = |source: io::Error| {
            let instance = self.spec.instance.clone();
            LaunchError::Launcher { doing: "read the output of", instance, source }
        };
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let mut pipe = pipe::Receiver::from_owned_fd(read).map_err(failed)?;
        let spec = LaunchSpec { log: LogSink::Inherited, notify_socket: None, ..self.spec.clone() };
        let launcher = self.launcher.clone().with_deadline(limit.min(DEFAULT_DEADLINE));
        let prepared =
            launcher.prepare_with_output(&spec, Vec::new(), self.place.clone(), Some(write)).await?;
        // Not the instance's cgroup: this command's session alone is ended.
        let session = Containment::session_of(prepared.key(), &spec.instance);
        begins(prepared.group()).map_err(|source| {
            let instance = self.spec.instance.clone();
            LaunchError::Launcher { doing: "write down the processes of", instance, source }
        })?;
        let _guard = KillOnDrop(session.clone());
        let process = prepared.go().await?.process;
        let mut output = Output { bytes: Vec::new(), kept, cut: false, said };
        let ended = timeout_at(deadline, watch(&process, &mut pipe, &mut output)).await;
        // What it left behind in its session goes too, or each command would leave one more. Best effort: what is
        // stuck in the kernel is the instance's to answer for, which has the same cgroup.
        let _ = session.kill(KILL_WAIT).await;
        Ok(Ran { status: ended.ok(), output: output.bytes, cut: output.cut })
    }
}

/// The last bytes of an output.
struct Output<F> {
    bytes: Vec<u8>,
    kept: usize,
    cut: bool,
    said: F,
}

impl<F: FnMut(&str)> Output<F> {
    fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if bytes.contains(&b'\n') {
            let mut lines = self.bytes.rsplit(|byte| *byte == b'\n').skip(1);
            if let Some(line) = lines.find(|line| !line.trim_ascii().is_empty()) {
                (self.said)(String::from_utf8_lossy(line).trim());
            }
        }
        let surplus = self.bytes.len().saturating_sub(self.kept);
        self.bytes.drain(..surplus);
        self.cut |= surplus > 0;
    }
}

/// Reads until the process has ended, then what is left: whoever holds the pipe longer is not waited for.
async fn watch(
    process: &Process,
    pipe: &mut pipe::Receiver,
    output: &mut Output<impl FnMut(&str)>,
) -> ExitStatus {
    let mut buffer = [0_u8; 1024];
    let mut open = true;
    let status = loop {
        tokio::select! {
            status = process.exited() => break status,
            read = pipe.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(length) => output.keep(&buffer[..length]),
            },
        }
    };
    // At most what a pipe holds, 64 KiB, so this ends.
    for _ in 0..64 {
        match timeout(Duration::ZERO, pipe.read(&mut buffer)).await {
            Ok(Ok(length)) if length > 0 => output.keep(&buffer[..length]),
            Ok(_) | Err(_) => break,
        }
    }
    status
}

/// A command whose future is dropped (its instance ended, the agent stops) must not be left running.
struct KillOnDrop(Group);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // One round: what forks meanwhile is in the instance's cgroup, if there is one.
        if let Err(error) = self.0.kill_once() {
            tracing::warn!(%error, group = %self.0, "cannot end a command beside an instance");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_how_it_ended_and_its_last_lines() {
        let failure = |status, output: &str| {
            let ran = Ran { status, output: output.as_bytes().to_vec(), cut: false };
            ran.failure(Duration::from_secs(5))
        };
        assert_eq!(failure(Some(ExitStatus::Code(0)), "fine"), None);
        let told = failure(Some(ExitStatus::Code(3)), "one\ntwo\n\nthree\n\u{1b}four\n");
        assert_eq!(told.as_deref(), Some("exited with code 3; its last words: two | three | \\u{1b}four"));
        assert_eq!(failure(None, "").as_deref(), Some("did not end within 5s and was killed"));
        let long = failure(None, &"a".repeat(4000)).unwrap();
        assert!(long.len() < 700, "{long}");
    }

    #[test]
    fn the_last_words_are_kept() {
        let mut said = Vec::new();
        let hears = |line: &str| said.push(line.to_owned());
        let mut output = Output { bytes: Vec::new(), kept: 4096, cut: false, said: hears };
        output.keep(b"one\ntwo\nthr");
        output.keep(b"ee\n");
        output.keep(&[b'a'; 4096]);
        assert!(output.cut);
        output.keep(&[b'a'; 904]);
        output.keep(b"\nno database\n\n");
        assert_eq!((output.bytes.len(), output.cut), (4096, true));
        assert!(output.bytes.ends_with(b"a\nno database\n\n"));
        assert_eq!(said, ["two", "three", "no database"]);
    }
}
