//! Why an instance could not be started.

use serde::{Deserialize, Serialize};
use std::{fmt, io, time::Duration};

/// What the launcher was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaunchStep {
    /// Reading what to start.
    ReadOrder,
    /// Leaving the agent's session.
    NewSession,
    /// Joining its cgroup.
    JoinCgroup,
    /// Opening where the output goes.
    OpenLog,
    /// Handing over the listening sockets.
    PassSockets,
    /// Setting a resource limit.
    SetLimit,
    /// Finding or becoming the user or group.
    ChangeUser,
    /// Going to the working directory.
    ChangeDirectory,
    /// Building arguments and environment.
    BuildEnvironment,
    /// Waiting for the agent's word.
    AwaitGo,
    /// Executing the program.
    Execute,
}

impl fmt::Display for LaunchStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOrder => "cannot read what to start",
            Self::NewSession => "cannot begin a session of its own",
            Self::JoinCgroup => "cannot join its cgroup",
            Self::OpenLog => "cannot open where its output goes",
            Self::PassSockets => "cannot pass on its sockets",
            Self::SetLimit => "cannot set the limit",
            Self::ChangeUser => "cannot become the user or group",
            Self::ChangeDirectory => "cannot go to the working directory",
            Self::BuildEnvironment => "cannot build the command or environment",
            Self::AwaitGo => "cannot wait for the agent's word",
            Self::Execute => "cannot execute the program",
        })
    }
}

/// Why an instance could not be started. In every case nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The launcher failed in a step.
    #[error("{step}: {what}")]
    Step {
        /// Which step.
        step: LaunchStep,
        /// The path, user, limit or variable that it was about, and what may help.
        what: String,
        /// What the system said; `None` where the launcher itself refused.
        #[source]
        source: Option<io::Error>,
    },
    /// The launcher could not be started or spoken with.
    #[error("cannot {doing} the launcher of {instance}")]
    Launcher {
        /// What the agent was doing with it.
        doing: &'static str,
        /// Whose launcher.
        instance: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The launcher did not answer in time and was killed.
    #[error(
        "the launcher of {instance} did not {doing} within {after:?} and was killed; a user directory or file system that hangs can cause this"
    )]
    Deadline {
        /// Whose launcher.
        instance: String,
        /// What it should have done.
        doing: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// The launcher ended without a word.
    #[error("the launcher of {instance} ended before it was ready: it {status}")]
    Vanished {
        /// Whose launcher.
        instance: String,
        /// How it ended.
        status: super::ExitStatus,
    },
    /// The order cannot be handed over.
    #[error("{what} of {instance} is over its bound: {count}, at most {most}")]
    TooMuch {
        /// Whose.
        instance: String,
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        count: u64,
        /// How much there may be.
        most: u64,
    },
    /// A cgroup limit is asked for that this host cannot keep.
    #[error("the limit `{limit}` needs the cgroup controller `{controller}`: {why}")]
    Limit {
        /// The manifest's word: memory, cpu or tasks.
        limit: &'static str,
        /// The controller of cgroup v2.
        controller: &'static str,
        /// Why it cannot be used, and what to do.
        why: String,
        /// What the system said.
        #[source]
        source: Option<io::Error>,
    },
    /// The instance's cgroup could not be made.
    #[error("cannot make the cgroup {path}")]
    Cgroup {
        /// Its folder.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl LaunchError {
    /// Whether trying again without any change cannot help: a missing program, an unknown user, a limit that this
    /// host cannot keep.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Step { step, source, .. } => match step {
                LaunchStep::ChangeUser | LaunchStep::ChangeDirectory | LaunchStep::BuildEnvironment => true,
                LaunchStep::Execute => source.as_ref().is_none_or(|error| {
                    !matches!(
                        error.raw_os_error(),
                        Some(nix::libc::EAGAIN | nix::libc::ENOMEM | nix::libc::ETXTBSY)
                    )
                }),
                LaunchStep::ReadOrder
                | LaunchStep::NewSession
                | LaunchStep::JoinCgroup
                | LaunchStep::OpenLog
                | LaunchStep::PassSockets
                | LaunchStep::SetLimit
                | LaunchStep::AwaitGo => false,
            },
            Self::Limit { .. } | Self::TooMuch { .. } => true,
            Self::Launcher { .. } | Self::Deadline { .. } | Self::Vanished { .. } | Self::Cgroup { .. } => {
                false
            }
        }
    }
}

/// What the launcher tells the agent: one line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// All is set up; waiting for the word to execute.
    Prepared,
    /// It failed and ends.
    Failed(Failure),
}

/// A step that failed, in a form that crosses the pipe.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) step: LaunchStep,
    pub(super) what: String,
    pub(super) errno: Option<i32>,
}

impl Failure {
    /// A step that the launcher itself refused.
    pub(super) fn refused(step: LaunchStep, what: impl Into<String>) -> Self {
        Self { step, what: what.into(), errno: None }
    }

    /// A step that the system refused.
    pub(super) fn of(step: LaunchStep, what: impl Into<String>, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        match error.raw_os_error() {
            Some(errno) => Self { step, what: what.into(), errno: Some(errno) },
            None => Self { step, what: format!("{}: {error}", what.into()), errno: None },
        }
    }
}

impl From<Failure> for LaunchError {
    fn from(failure: Failure) -> Self {
        let Failure { step, what, errno } = failure;
        Self::Step { step, what, source: errno.map(io::Error::from_raw_os_error) }
    }
}
