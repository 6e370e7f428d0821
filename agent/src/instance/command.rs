//! A command beside an instance: started by the launcher like the instance itself, with its user, environment,
//! limits and cgroup, so that it sees what the program sees; in a session of its own, which alone is ended with it.

use super::{
    cgroup::{Containment, Group, Place},
    error::LaunchError,
    launch::{DEFAULT_DEADLINE, Launcher},
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
        let _guard = KillOnDrop(session.clone());
        let process = prepared.go().await?.process;
        let mut output = Output { bytes: Vec::new(), kept, cut: false };
        let ended = timeout_at(deadline, watch(&process, &mut pipe, &mut output)).await;
        // What it left behind in its session goes too, or each command would leave one more. Best effort: what is
        // stuck in the kernel is the instance's to answer for, which has the same cgroup.
        let _ = session.kill(KILL_WAIT).await;
        Ok(Ran { status: ended.ok(), output: output.bytes, cut: output.cut })
    }
}

/// The last bytes of an output.
struct Output {
    bytes: Vec<u8>,
    kept: usize,
    cut: bool,
}

impl Output {
    fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(self.kept);
        self.bytes.drain(..surplus);
        self.cut |= surplus > 0;
    }
}

/// Reads until the process has ended, then what is left: whoever holds the pipe longer is not waited for.
async fn watch(process: &Process, pipe: &mut pipe::Receiver, output: &mut Output) -> ExitStatus {
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
    fn the_last_words_are_kept() {
        let mut output = Output { bytes: Vec::new(), kept: 4096, cut: false };
        output.keep(&[b'a'; 4096]);
        assert!(!output.cut);
        output.keep(&[b'a'; 904]);
        output.keep(b"\nno database\n\n");
        assert_eq!((output.bytes.len(), output.cut), (4096, true));
        assert!(output.bytes.ends_with(b"a\nno database\n\n"));
    }
}
