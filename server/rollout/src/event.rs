//! What goes into the engine and what comes out of it.

use crate::{Assignment, FlipSeen, MigrationOrder, Record};
use handover_model::{HostName, InstanceId, InstanceReport, MigrationId, MigrationState};
use std::collections::{BTreeMap, BTreeSet};

/// What happened. Events about hosts that are not in the plan are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A host told what it runs. Also says that it is connected.
    HostReported {
        /// Which host.
        host: HostName,
        /// Whether the agent works on the latest target that the server made for it. Shares, readiness and absence
        /// count only then; a failure counts always.
        current: bool,
        /// All instances of the deployment's service in the report; others are ignored.
        instances: BTreeMap<InstanceId, InstanceReport>,
        /// What it says of its flip to the order that stands.
        flip: FlipSeen,
    },
    /// A host's session began.
    HostConnected {
        /// Which host.
        host: HostName,
    },
    /// A host's session ended. After a restart of the server: the host did not come back in a reasonable time.
    HostDisconnected {
        /// Which host.
        host: HostName,
    },
    /// A host was taken out of the fleet. Nothing can be ordered there any more.
    HostRemoved {
        /// Which host.
        host: HostName,
    },
    /// Time passed: see [`crate::Deployment::next_deadline`]. Harmless at any moment.
    Tick,
    /// An operator holds the deployment: see [`crate::DeploymentState::Paused`]. Changes nothing where it does not run.
    Pause {
        /// Who.
        by: String,
        /// Why, in the operator's words; may be empty.
        reason: String,
    },
    /// An operator lets a paused deployment go on. Changes nothing where it is not paused.
    Resume {
        /// Who.
        by: String,
    },
    /// An operator gives hosts another attempt: see [`crate::Deployment::retryable`]. Others are left as they are.
    Retry {
        /// Who.
        by: String,
        /// Which hosts; empty: all that can be retried.
        hosts: BTreeSet<HostName>,
    },
    /// The judge looked at the new release in a stage. Another stage's verdict is ignored.
    Judged {
        /// Which stage it looked at, from 0.
        stage: u32,
        /// What it says.
        verdict: Verdict,
    },
    /// A host told where a migration is. Another one than the current stage's present attempt is ignored.
    MigrationReported {
        /// Which host.
        host: HostName,
        /// Which migration.
        migration: MigrationId,
        /// Where it is.
        state: MigrationState,
    },
    /// An operator lets the new release go on without a verdict, or approves it: see
    /// [`crate::Deployment::takes_promotion`]. Changes nothing else.
    Promote {
        /// Who.
        by: String,
    },
    /// An operator wants every touched host back on its former release.
    Abort {
        /// Who.
        by: String,
        /// Why, in the operator's words; may be empty.
        reason: String,
    },
}

impl Event {
    /// The host that it is about.
    #[must_use]
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::HostReported { host, .. }
            | Self::HostConnected { host }
            | Self::HostDisconnected { host }
            | Self::HostRemoved { host }
            | Self::MigrationReported { host, .. } => Some(host),
            Self::Tick
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Retry { .. }
            | Self::Judged { .. }
            | Self::Promote { .. }
            | Self::Abort { .. } => None,
        }
    }
}

/// What a judge says, each with its figures in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The new release is no worse than it may be.
    Pass(String),
    /// It is: every touched host goes back.
    Fail(String),
    /// Nothing yet.
    NeedsMoreData(String),
}

/// An order to the fleet. Idempotent: sent twice it does nothing the second time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make this the host's instances of the deployment's service.
    Assign {
        /// Where.
        host: HostName,
        /// What should run there.
        assignment: Assignment,
    },
    /// Make this the host's migration of the deployment's service.
    Migrate {
        /// Where.
        host: HostName,
        /// What should run there; `None`: nothing more, and what runs is ended.
        order: Option<MigrationOrder>,
    },
}

/// What follows from an event: first the records are made durable, then the commands are run.
#[must_use = "records that are not written and commands that are not run break the deployment"]
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Step {
    /// In order; already applied to the deployment that returned them.
    pub records: Vec<Record>,
    /// At most one of each kind for each host.
    pub commands: Vec<Command>,
}
