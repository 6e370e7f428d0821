//! A command as a probe: started by the launcher like the instance itself, with its user, environment, limits and
//! cgroup, so that it sees what the program sees.

use super::{ProbeFailure, failure::quoted};
use crate::instance::{
    cgroup::{Containment, Group, Place},
    launch::Launcher,
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

/// Bytes of output that are kept: the last ones.
const KEPT_OUTPUT_BYTES: usize = 4096;
/// How long killed processes may take to be gone before the probe's answer is given all the same.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// A command as a probe.
#[derive(Clone, Debug)]
pub struct ExecProbe {
    /// How to start it.
    pub launcher: Launcher,
    /// The instance's spec with the probe's command; its log is replaced.
    pub spec: LaunchSpec,
    /// The instance's cgroup, from [`Place`] of the instance; a session of its own where there is none.
    pub place: Place,
}

impl ExecProbe {
    pub(super) fn subject(&self) -> String {
        self.spec.command.join(" ").chars().take(200).collect()
    }

    /// Runs it and ends, at the latest after `limit`, everything in its session.
    pub(super) async fn ask(&self, limit: Duration) -> Result<(), ProbeFailure> {
        let deadline = Instant::now() + limit;
        let failed = |source: io::Error| {
            let instance = self.spec.instance.clone();
            crate::instance::LaunchError::Launcher { doing: "read the output of", instance, source }
        };
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let mut output = pipe::Receiver::from_owned_fd(read).map_err(failed)?;
        let spec = LaunchSpec { log: LogSink::Inherited, notify_socket: None, ..self.spec.clone() };
        let launcher = self.launcher.clone().with_deadline(limit);
        let prepared =
            launcher.prepare_with_output(&spec, Vec::new(), self.place.clone(), Some(write)).await?;
        // Not the instance's cgroup: this probe's session alone is ended.
        let session = Containment::session_of(prepared.key(), &spec.instance);
        let _guard = KillOnDrop(session.clone());
        let process = prepared.go().await?.process;
        let mut kept = Vec::new();
        let ended = timeout_at(deadline, watch(&process, &mut output, &mut kept)).await;
        // What it left behind in its session goes too, or each probe would leave one more. Best effort: what is
        // stuck in the kernel is the instance's to answer for, which has the same cgroup.
        let _ = session.kill(KILL_WAIT).await;
        let output = quoted(last_line(&String::from_utf8_lossy(&kept)));
        match ended {
            Ok(ExitStatus::Code(0)) => Ok(()),
            Ok(status) => Err(ProbeFailure::Exec { what: self.subject(), status, output }),
            Err(_) => Err(ProbeFailure::ExecLate { what: self.subject(), after: limit, output }),
        }
    }
}

/// Reads until the process has ended, then what is left: whoever holds the pipe longer is not waited for.
async fn watch(process: &Process, output: &mut pipe::Receiver, kept: &mut Vec<u8>) -> ExitStatus {
    let mut buffer = [0_u8; 1024];
    let mut open = true;
    let status = loop {
        tokio::select! {
            status = process.exited() => break status,
            read = output.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(length) => keep(kept, &buffer[..length]),
            },
        }
    };
    // At most what a pipe holds, 64 KiB, so this ends.
    for _ in 0..64 {
        match timeout(Duration::ZERO, output.read(&mut buffer)).await {
            Ok(Ok(length)) if length > 0 => keep(kept, &buffer[..length]),
            Ok(_) | Err(_) => break,
        }
    }
    status
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    kept.extend_from_slice(bytes);
    let surplus = kept.len().saturating_sub(KEPT_OUTPUT_BYTES);
    kept.drain(..surplus);
}

fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("")
}

/// A probe whose future is dropped (its instance ended, the agent stops) must not leave its command running.
struct KillOnDrop(Group);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // One round: what forks meanwhile is in the instance's cgroup, if there is one.
        if let Err(error) = self.0.kill_once() {
            tracing::warn!(%error, group = %self.0, "cannot end a probe's command");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_kept() {
        let mut kept = Vec::new();
        keep(&mut kept, &[b'a'; 5000]);
        keep(&mut kept, b"\nno database\n\n");
        assert_eq!(kept.len(), KEPT_OUTPUT_BYTES);
        assert_eq!(last_line(&String::from_utf8_lossy(&kept)), "no database");
    }
}
