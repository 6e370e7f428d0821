//! Starting an instance, the agent's side: fork, prepare, write down, go.
//!
//! [`Launcher::prepare`] gives a process that is set up in everything and has executed nothing yet. The caller
//! writes its pid and start time to the journal and then says [`Prepared::go`]. If the agent dies in between, the
//! launcher sees the end of the go pipe and ends: no program runs that the journal does not know.

use super::{
    cgroup::{Group, Place},
    error::{LaunchError, Message},
    process::{Process, ProcessKey},
    spec::{LaunchSpec, MAX_SOCKETS, MAX_SPEC_BYTES, Order},
};
use command_fds::{CommandFdExt, FdMapping};
use rustix::{
    fs::{MemfdFlags, SeekFrom, memfd_create, seek},
    pipe::{PipeFlags, pipe_with},
};
use std::{
    fs::File,
    io::{self, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
    time::timeout,
};

pub use super::child::child_main;

/// The first argument with which `main` calls [`child_main`].
pub const SUBCOMMAND: &str = "launch";
/// How long the launcher may take for each of its two answers, where nothing else is said.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
/// Longest message of the launcher, in bytes.
const MAX_MESSAGE_BYTES: u64 = 16 * 1024;
/// How long a launcher that failed may take to be gone.
const END_WAIT: Duration = Duration::from_secs(2);

/// How launchers are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    program: PathBuf,
    deadline: Duration,
}

/// A listening socket for the instance, in the order in which it is to be numbered from 3 on.
#[derive(Debug)]
pub struct PassedSocket {
    /// The listener's name, for `LISTEN_FDNAMES`; without a colon.
    pub name: String,
    /// The socket. Blocking mode is set on it: a duplicate that the agent keeps is blocking too.
    pub socket: OwnedFd,
}

/// An instance that is set up and waits for the word.
///
/// Dropping it is saying no: the launcher ends, is reaped, and nothing was executed.
#[derive(Debug)]
pub struct Prepared {
    process: Process,
    group: Group,
    instance: String,
    deadline: Duration,
    go: File,
    messages: Messages,
}

/// An instance that runs its program.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its main process.
    pub process: Process,
    /// All of its processes.
    pub group: Group,
}

type Messages = BufReader<tokio::io::Take<pipe::Receiver>>;

impl Launcher {
    /// The agent's own binary, also where it has been replaced on disk by a newer one meanwhile.
    #[must_use]
    pub fn of_this_agent() -> Self {
        Self::of_program(PathBuf::from("/proc/self/exe"))
    }

    /// Another binary whose `main` calls [`child_main`].
    #[must_use]
    pub fn of_program(program: PathBuf) -> Self {
        Self { program, deadline: DEFAULT_DEADLINE }
    }

    /// With another deadline for each of the launcher's answers.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Forks the launcher and waits until it has set up everything.
    ///
    /// # Errors
    /// When a step fails, or the deadline passes. Nothing is left running then, and a cgroup that was made for the
    /// instance is removed if it is empty.
    pub async fn prepare(
        &self,
        spec: &LaunchSpec,
        sockets: Vec<PassedSocket>,
        place: Place,
    ) -> Result<Prepared, LaunchError> {
        self.prepare_with_output(spec, sockets, place, None).await
    }

    /// As [`Self::prepare`], with `output` as what [`super::LogSink::Inherited`] inherits.
    pub(super) async fn prepare_with_output(
        &self,
        spec: &LaunchSpec,
        sockets: Vec<PassedSocket>,
        place: Place,
        output: Option<OwnedFd>,
    ) -> Result<Prepared, LaunchError> {
        let instance = spec.instance.clone();
        let failed = |doing| {
            let instance = instance.clone();
            move |source: io::Error| LaunchError::Launcher { doing, instance, source }
        };
        check_bound(spec, "the number of sockets", sockets.len() as u64, MAX_SOCKETS as u64)?;
        let order = write_order(spec, &sockets, &place)?;
        let (go_read, go) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed("make the pipes of")(e.into()))?;
        let (status, status_write) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed("make the pipes of")(e.into()))?;
        let count = sockets.len();
        let descriptors =
            sockets.into_iter().map(|passed| passed.socket).chain([order, go_read, status_write]);
        let command = self.command(count, descriptors.collect(), output).map_err(failed("start"))?;
        // fork(2) of a large agent and reading the binary from disk take milliseconds: not on a runtime's thread.
        // Watched from there as well: it is reaped also where nobody waits for this answer any more.
        let process = tokio::task::spawn_blocking(move || Process::of_child(spawn(command)?))
            .await
            .map_err(io::Error::other)
            .and_then(|spawned| spawned)
            .map_err(failed("start"))?;
        let messages = pipe::Receiver::from_owned_fd(status).map_err(failed("listen to"))?;
        let mut prepared = Prepared {
            group: place.group_of(process.key(), &instance),
            process,
            instance: instance.clone(),
            deadline: self.deadline,
            go: go.into(),
            messages: BufReader::new(messages.take(MAX_MESSAGE_BYTES)),
        };
        match prepared.answer("get ready").await {
            Ok(Some(Message::Prepared)) => Ok(prepared),
            Ok(Some(Message::Failed(failure))) => Err(prepared.clean_up(failure.into()).await),
            Ok(None) => {
                let ended = timeout(END_WAIT, prepared.process.exited()).await;
                let status = ended.unwrap_or(super::ExitStatus::Unknown);
                Err(prepared.clean_up(LaunchError::Vanished { instance, status }).await)
            }
            Err(error) => Err(prepared.clean_up(error).await),
        }
    }

    fn command(
        &self,
        sockets: usize,
        descriptors: Vec<OwnedFd>,
        output: Option<OwnedFd>,
    ) -> io::Result<Command> {
        let mut command = Command::new(&self.program);
        command
            .arg0("handover-agent")
            .arg(SUBCOMMAND)
            .arg(sockets.to_string())
            .env_clear()
            .stdin(Stdio::null());
        match output {
            Some(output) => command.stdout(output.try_clone()?).stderr(output),
            None => command.stdout(Stdio::null()).stderr(Stdio::null()),
        };
        let mappings =
            descriptors.into_iter().zip(3..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mappings.collect()).map_err(io::Error::other)?;
        Ok(command)
    }
}

impl Prepared {
    /// Pid and start time, for the journal.
    #[must_use]
    pub fn key(&self) -> ProcessKey {
        self.process.key()
    }

    /// Its main process, for signalling and watching.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its processes, for the journal.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Lets the launcher execute the program; returns once the kernel has done it.
    ///
    /// # Errors
    /// When the program cannot be executed, or the deadline passes. Nothing is left running then.
    pub async fn go(mut self) -> Result<Running, LaunchError> {
        // One byte into an empty pipe never blocks. A launcher that is gone is found out by its answer.
        let said = self.go.write_all(b"g");
        match self.answer("execute the program").await {
            Ok(None) => match said {
                // The end without a message is execve(2) closing the status pipe.
                Ok(()) => Ok(Running { process: self.process, group: self.group }),
                Err(source) => {
                    let instance = self.instance.clone();
                    Err(self.clean_up(LaunchError::Launcher { doing: "say go to", instance, source }).await)
                }
            },
            Ok(Some(Message::Failed(failure))) => Err(self.clean_up(failure.into()).await),
            Ok(Some(Message::Prepared)) => {
                let source = io::Error::new(io::ErrorKind::InvalidData, "it said twice that it is prepared");
                let instance = self.instance.clone();
                Err(self.clean_up(LaunchError::Launcher { doing: "understand", instance, source }).await)
            }
            Err(error) => Err(self.clean_up(error).await),
        }
    }

    /// The next message; `None` at the end.
    async fn answer(&mut self, doing: &'static str) -> Result<Option<Message>, LaunchError> {
        let mut line = Vec::new();
        let instance = || self.instance.clone();
        match timeout(self.deadline, self.messages.read_until(b'\n', &mut line)).await {
            Err(_) => Err(LaunchError::Deadline { instance: instance(), doing, after: self.deadline }),
            Ok(Err(source)) => {
                Err(LaunchError::Launcher { doing: "listen to", instance: instance(), source })
            }
            Ok(Ok(0)) => Ok(None),
            Ok(Ok(_)) => serde_json::from_slice(&line).map(Some).map_err(|error| LaunchError::Launcher {
                doing: "understand",
                instance: instance(),
                source: error.into(),
            }),
        }
    }

    /// Makes sure that nothing is left, and gives the error back.
    async fn clean_up(self, error: LaunchError) -> LaunchError {
        let Self { process, group, .. } = self;
        // Both best effort: the reason for the failure is what the operator needs, not these.
        let _ = process.signal(nix::sys::signal::Signal::SIGKILL);
        if timeout(END_WAIT, process.exited()).await.is_ok() {
            let _ = group.remove();
        }
        error
    }
}

fn check_bound(spec: &LaunchSpec, what: &'static str, count: u64, most: u64) -> Result<(), LaunchError> {
    if count <= most {
        return Ok(());
    }
    Err(LaunchError::TooMuch { instance: spec.instance.clone(), what, count, most })
}

/// The order in a file of memory: it may hold secrets of the environment, and never touches a disk.
fn write_order(spec: &LaunchSpec, sockets: &[PassedSocket], place: &Place) -> Result<OwnedFd, LaunchError> {
    let failed = |source| LaunchError::Launcher {
        doing: "write the order for",
        instance: spec.instance.clone(),
        source,
    };
    let socket_names: Vec<String> = sockets.iter().map(|passed| passed.name.clone()).collect();
    if let Some(name) = socket_names.iter().find(|name| name.contains([':', '\0'])) {
        return Err(failed(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a listener's name with a colon: {name:?}"),
        )));
    }
    let order = Order { spec: spec.clone(), cgroup: place.cgroup().map(ToOwned::to_owned), socket_names };
    let bytes = serde_json::to_vec(&order).map_err(|error| failed(error.into()))?;
    check_bound(spec, "the command with its environment (bytes)", bytes.len() as u64, MAX_SPEC_BYTES)?;
    let memory = memfd_create("handover-order", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let mut file = File::from(memory);
    file.write_all(&bytes).map_err(failed)?;
    seek(&file, SeekFrom::Start(0)).map_err(|error| failed(error.into()))?;
    Ok(file.into())
}

/// Starts it. The handle of the standard library is dropped at once: [`Process`] watches and reaps by pidfd.
fn spawn(mut command: Command) -> io::Result<u32> {
    Ok(command.spawn()?.id())
}
