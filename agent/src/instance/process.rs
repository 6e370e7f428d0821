//! A process that the agent runs or adopts: known by pid and start time, reached only through a pidfd.

use super::{
    procfs,
    sys::{self, ForeignEnd},
};
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use serde::{Deserialize, Serialize};
use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};
use tokio::{io::unix::AsyncFd, sync::watch, time};

/// How long the kernel is asked for the exit status of a process that ended and is not our child: it tells once the
/// process has been reaped by its parent, which for an orphan is init. Short: that it has ended is what is urgent; but
/// on a busy machine a parent may not run for some tenths of a second.
const FOREIGN_STATUS_WAIT: Duration = Duration::from_millis(500);
/// How often it is asked in that time.
const FOREIGN_STATUS_STEP: Duration = Duration::from_millis(5);

/// A process by name: unique during one boot of the machine. Made for the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Its pid.
    pub pid: u32,
    /// Clock ticks from boot to its start: field 22 of /proc/PID/stat, proc_pid_stat(5).
    pub start_time: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It called exit(3) with this code, 0 to 255.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// Which.
        signal: i32,
        /// Whether it left a core dump.
        core: bool,
    },
    /// It was adopted, and this kernel (before 6.15) tells an exit status to the parent alone, or its parent (init)
    /// did not reap it at once.
    Unknown,
}

impl ExitStatus {
    /// From the status word of wait(2).
    pub(super) fn from_wait_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Code((status >> 8) & 0xff),
            signal => Self::Signal { signal, core: status & 0x80 != 0 },
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal { signal, core } => {
                match Signal::try_from(signal) {
                    Ok(name) => write!(f, "was killed by {name}")?,
                    Err(_) => write!(f, "was killed by signal {signal}")?,
                }
                f.write_str(if core { " (core dumped)" } else { "" })
            }
            Self::Unknown => f.write_str("ended; its exit status is unknown, as it was adopted"),
        }
    }
}

/// A running or ended process. Clones are the same process.
///
/// Dropping it neither ends nor forgets the process: a child is reaped whether somebody waits for it or not.
#[derive(Clone, Debug)]
pub struct Process {
    key: ProcessKey,
    pidfd: Arc<OwnedFd>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Takes over the process `key`, be it a child of ours or an orphan that an earlier agent started; `None` where
    /// it is gone and the pid is free or somebody else's. The caller compares boot ids ([`boot_id`]) before.
    ///
    /// # Errors
    /// When the pidfd cannot be opened (out of descriptors) or /proc cannot be read. Must be called in a runtime.
    pub fn adopt(key: ProcessKey) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(key.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Looked at after the pidfd is open: if the start time is right now, the pidfd is of the right process.
        match procfs::stat(pid.as_raw_pid())? {
            Some(stat) if stat.start_time == key.start_time => Self::watch(key, pidfd).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// A child that was just forked and that nobody has reaped.
    pub(super) fn of_child(pid: u32) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, format!("process {pid} is gone"));
        let raw = i32::try_from(pid).map_err(|_| gone())?;
        let start_time = procfs::stat(raw)?.ok_or_else(gone)?.start_time;
        Self::adopt(ProcessKey { pid, start_time })?.ok_or_else(gone)
    }

    fn watch(key: ProcessKey, pidfd: OwnedFd) -> io::Result<Self> {
        let pidfd = Arc::new(pidfd);
        let ready = sys::when_readable(Arc::clone(&pidfd))?;
        let (sender, exit) = watch::channel(None);
        tokio::spawn(async move {
            let status = end_of(&ready).await;
            sender.send_replace(Some(status));
        });
        Ok(Self { key, pidfd, exit })
    }

    /// Pid and start time.
    #[must_use]
    pub fn key(&self) -> ProcessKey {
        self.key
    }

    /// Its pid, for people and for reading below /proc; never for signalling.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.key.pid
    }

    /// Clock ticks from boot to its start.
    #[must_use]
    pub fn start_time(&self) -> u64 {
        self.key.start_time
    }

    /// Sends `signal` to this process and to no other, even if its pid has been given away. False where it had
    /// already ended.
    ///
    /// # Errors
    /// When the agent may not signal it, or the signal has no name.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        signal_through(self.pidfd.as_fd(), signal)
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits until it has ended and, if it is a child, is reaped. May be called, dropped and called again by any
    /// number of tasks. Has no deadline of its own: a program may run for years.
    pub async fn exited(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        // The watching task is gone only when the runtime shuts down.
        exit.wait_for(Option::is_some)
            .await
            .map_or(ExitStatus::Unknown, |end| end.unwrap_or(ExitStatus::Unknown))
    }
}

/// Sends `signal` through `pidfd`; false where the process had already ended.
pub(super) fn signal_through(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<bool> {
    let signal = rustix::process::Signal::from_named_raw(signal as i32)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("no such signal: {signal}")))?;
    match pidfd_send_signal(pidfd, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits for the end of the process behind the pidfd and finds out how it ended.
async fn end_of(ready: &AsyncFd<Arc<OwnedFd>>) -> ExitStatus {
    if ready.readable().await.is_err() {
        return ExitStatus::Unknown;
    }
    let pidfd = ready.get_ref().as_fd();
    if let Ok(Some(status)) = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
        let signal =
            status.terminating_signal().map(|signal| ExitStatus::Signal { signal, core: status.dumped() });
        return status.exit_status().map(ExitStatus::Code).or(signal).unwrap_or(ExitStatus::Unknown);
    }
    // No child of ours (ECHILD). Whoever is its parent reaps it, and then the kernel tells.
    let told = async {
        loop {
            match sys::pidfd_exit_status(pidfd) {
                ForeignEnd::Told(status) => return status,
                ForeignEnd::Never => return ExitStatus::Unknown,
                ForeignEnd::NotYet => {}
            }
            time::sleep(FOREIGN_STATUS_STEP).await;
        }
    };
    time::timeout(FOREIGN_STATUS_WAIT, told).await.unwrap_or(ExitStatus::Unknown)
}

/// The id of this boot of the machine: a pid with a start time means something only together with it.
///
/// # Errors
/// When /proc is not mounted.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    const SOON: Duration = Duration::from_secs(10);

    #[expect(clippy::zombie_processes, reason = "that a Process reaps it is what is tested")]
    fn shell(script: &str) -> Process {
        let child = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap();
        Process::of_child(child.id()).unwrap()
    }

    async fn end(process: &Process) -> ExitStatus {
        time::timeout(SOON, process.exited()).await.expect("the process did not end")
    }

    #[tokio::test]
    async fn a_childs_exit_code_and_signal_are_told() {
        let process = shell("exit 7");
        assert_eq!(end(&process).await, ExitStatus::Code(7));
        assert_eq!(process.status(), Some(ExitStatus::Code(7)));
        let process = shell("exec sleep 60");
        assert_eq!(process.status(), None);
        assert!(process.signal(Signal::SIGKILL).unwrap());
        assert_eq!(end(&process).await, ExitStatus::Signal { signal: 9, core: false });
        assert!(!process.signal(Signal::SIGKILL).unwrap(), "a reaped process took a signal");
    }

    #[tokio::test]
    async fn a_child_is_reaped_although_nobody_waits_for_it() {
        let process = shell("exit 0");
        let key = process.key();
        drop(process);
        let gone = async {
            while procfs::stat(i32::try_from(key.pid).unwrap())
                .unwrap()
                .is_some_and(|s| s.start_time == key.start_time)
            {
                tokio::task::yield_now().await;
            }
        };
        time::timeout(SOON, gone).await.expect("a zombie is left");
    }

    #[tokio::test]
    async fn a_reused_pid_is_not_adopted() {
        let process = shell("exec sleep 60");
        let key = process.key();
        let other = ProcessKey { start_time: key.start_time + 1, ..key };
        assert!(Process::adopt(other).unwrap().is_none());
        assert!(Process::adopt(key).unwrap().is_some());
        process.signal(Signal::SIGKILL).unwrap();
        end(&process).await;
        assert!(Process::adopt(key).unwrap().is_none());
    }

    #[tokio::test]
    async fn the_end_of_a_process_that_is_no_child_is_told_where_the_kernel_can() {
        use std::io::{BufRead, BufReader, Write};
        let mut parent = Command::new("sh")
            // The outer shell reaps the inner one, and then lives on.
            .args(["-c", "exec 3<&0; sh -c 'echo $$; read line; exit 7' <&3 & wait; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid: u32 = line.trim().parse().unwrap();
        let start_time = procfs::stat(i32::try_from(pid).unwrap()).unwrap().unwrap().start_time;
        let process = Process::adopt(ProcessKey { pid, start_time }).unwrap().unwrap();
        let mut input = parent.stdin.take().unwrap();
        input.write_all(b"\n").unwrap();
        let told = end(&process).await;
        let ability = async {
            while matches!(sys::pidfd_exit_status(process.pidfd.as_fd()), ForeignEnd::NotYet) {
                time::sleep(FOREIGN_STATUS_STEP).await;
            }
            sys::pidfd_exit_status(process.pidfd.as_fd())
        };
        let ability = time::timeout(SOON, ability).await.expect("the parent does not reap it");
        drop(input);
        parent.wait().unwrap();
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap(), numbers.next().unwrap());
        if version >= (6, 15) {
            assert_eq!(ability, ForeignEnd::Told(ExitStatus::Code(7)));
            // Unknown only where the parent took longer than anybody should wait for it.
            assert!(matches!(told, ExitStatus::Code(7) | ExitStatus::Unknown), "{told}");
        } else {
            assert_eq!((ability, told), (ForeignEnd::Never, ExitStatus::Unknown));
        }
    }

    #[test]
    fn an_exit_reads_as_a_sentence() {
        assert_eq!(ExitStatus::from_wait_status(3 << 8).to_string(), "exited with code 3");
        assert_eq!(ExitStatus::from_wait_status(15).to_string(), "was killed by SIGTERM");
        assert_eq!(
            ExitStatus::from_wait_status(11 | 0x80).to_string(),
            "was killed by SIGSEGV (core dumped)"
        );
    }
}
