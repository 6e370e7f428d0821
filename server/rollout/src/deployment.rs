//! A deployment: what is known of it, durable and not, and how it is looked at.

use crate::{
    Event, HostState, Placement, Plan, PlanError, Skew, Step,
    decide::Draft,
    index::Index,
    observed::Observed,
    record::{Record, records_of},
};
use handover_model::{DeploymentId, HostName, InstanceId, NameError, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Carrying one release to the hosts of a service, by a plan.
///
/// Two are equal when what is durable of them is: what the hosts reported last does not count.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub(crate) facts: Facts,
    /// Derived from the facts, for speed.
    pub(crate) index: Index,
    /// What the hosts said last. Lost in a crash, and then said again.
    pub(crate) observed: Observed,
}

/// What is durable: a fold over the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) id: DeploymentId,
    pub(crate) by: String,
    pub(crate) created_at: Timestamp,
    pub(crate) plan: Plan,
    /// Of the first attempt.
    pub(crate) first_names: Instances,
    /// Of the second attempt and later ones, as far as a host came to it.
    pub(crate) later_names: Vec<Instances>,
    pub(crate) state: DeploymentState,
    pub(crate) stage: u32,
    pub(crate) tracks: BTreeMap<HostName, Track>,
    /// Hosts that failed and were not given another attempt.
    pub(crate) failures: u32,
    /// Failures that an operator bore by letting the deployment go on.
    pub(crate) accepted: u32,
    /// How many stages the plan had when it began; behind them stand those that retries added.
    pub(crate) planned_stages: u32,
    pub(crate) last_failure: String,
    pub(crate) lifts: u32,
    /// Of each stage in which all hosts flipped in one step, how far apart they did, where it was measured.
    pub(crate) skews: BTreeMap<u32, Skew>,
    /// How often the current stage's migrations were begun.
    pub(crate) migration_attempt: u32,
}

/// The names of the instances that an attempt makes, the same on every host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instances {
    /// Of the new release.
    pub(crate) new: InstanceId,
    /// Of the former release, where it has to be started again.
    pub(crate) again: InstanceId,
}

/// One host's way through the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    /// The stage that the host is in, or comes into first.
    pub(crate) stage: u32,
    /// Its place among the hosts of that stage.
    pub(crate) position: u32,
    /// The last stage that names it.
    pub(crate) last_stage: u32,
    /// How often it was given another attempt.
    pub(crate) retries: u32,
    pub(crate) from: Option<Placement>,
    /// The instance that stood by, in the first attempt.
    pub(crate) standby: Option<InstanceId>,
    pub(crate) state: HostState,
    pub(crate) failure: Option<String>,
}

/// Where a deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeploymentState {
    /// The plan is being written; nothing was ordered.
    Planning,
    /// Its current stage goes on.
    Running {
        /// Where in the stage.
        phase: StagePhase,
        /// Since when.
        since: Timestamp,
    },
    /// A person decides. No host begins a change and no share is raised. A candidate that is starting may get ready,
    /// and then stays hidden; a shift or a retirement that was ordered comes to its end; what fails goes back alone.
    /// The time of a bake and the waiting for hosts that are offline stand still; everything else under way keeps its
    /// deadline, since the pause does not hold it up.
    Paused {
        /// Why.
        reason: String,
        /// Since when.
        since: Timestamp,
        /// What brought it about.
        cause: PauseCause,
        /// Where in the stage it goes on.
        phase: StagePhase,
    },
    /// Every touched host goes back.
    RollingBack {
        /// Why.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
    /// Nothing happens any more.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// When.
        at: Timestamp,
    },
}

/// What paused a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseCause {
    /// More hosts failed than are allowed. Who resumes it bears the failures so far: the next one pauses it again.
    Failures,
    /// An operator. Resuming bears nothing: where more hosts failed meanwhile than are allowed, the policy for that
    /// takes its course as soon as the deployment runs again.
    Operator,
}

/// Where a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StagePhase {
    /// Its hosts are being given the new release's share.
    Moving,
    /// All have it and must stay healthy.
    Baking {
        /// Until when.
        until: Timestamp,
        /// Hosts that have not reported themselves healthy by then count as failed.
        deadline: Timestamp,
    },
    /// It stayed healthy, and the judge has to come to a verdict.
    Judging {
        /// Until when.
        until: Timestamp,
    },
    /// Its migrations are being applied.
    Migrating {
        /// They have failed where they did not end by then.
        until: Timestamp,
    },
    /// A person has to promote it.
    Approving {
        /// Why.
        cause: ApprovalCause,
    },
    /// It was good; old instances finish, failed hosts go back.
    Closing,
}

/// Why a person has to promote a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalCause {
    /// The plan says so.
    Plan,
    /// The judge came to no verdict in time.
    Inconclusive,
}

/// How a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The hosts of the plan run the new release, but for the failures that were allowed and hosts left out. Where the plan
    /// only migrates: its migrations are applied.
    Succeeded {
        /// Hosts that run it now.
        hosts: u32,
        /// Hosts that failed and are back on the former release, or were never touched.
        failed: u32,
    },
    /// The hosts of the plan took the new release, kept it well and are back on the former one, as the plan wanted; but for
    /// the failures that were allowed and hosts left out.
    Returned {
        /// Hosts that had it and are back.
        hosts: u32,
        /// Hosts that failed and are back too, or were never touched.
        failed: u32,
    },
    /// No host runs the new release because of this deployment.
    RolledBack {
        /// Why.
        reason: String,
    },
    /// It is over, and some hosts could not be shown to be where they should: [`Deployment::stuck`] names them.
    NeedsPerson {
        /// What happened, with the first of them.
        reason: String,
        /// How many are stuck.
        hosts: u32,
    },
}

/// Records that do not make a deployment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The first record is not `created`, or there is none.
    #[error("the records of a deployment begin with {}, not with \"created\"", found.unwrap_or("nothing"))]
    NoBeginning {
        /// What they begin with.
        found: Option<&'static str>,
    },
    /// The service's name gives no instance's name.
    #[error("deployment {id} has no valid names for its instances")]
    Instance {
        /// Which deployment.
        id: DeploymentId,
        /// Why.
        #[source]
        source: NameError,
    },
    /// The plan that the records hold is none.
    #[error("the plan of deployment {id} is not valid")]
    Plan {
        /// Which deployment.
        id: DeploymentId,
        /// Why.
        #[source]
        source: PlanError,
    },
    /// A record that cannot follow what came before it.
    #[error("deployment {id} is {state}: a record {record:?} makes no sense there")]
    OutOfPlace {
        /// Which deployment.
        id: DeploymentId,
        /// Where it is.
        state: &'static str,
        /// The record's name.
        record: &'static str,
    },
    /// A record of a host that is not in the plan.
    #[error("deployment {id} has a record {record:?} of host {host}, which is not in its plan")]
    UnknownHost {
        /// Which deployment.
        id: DeploymentId,
        /// Which host.
        host: HostName,
        /// The record's name.
        record: &'static str,
    },
    /// A host cannot come from the one state into the other.
    #[error("deployment {id}: host {host} is {from} and cannot become {to}")]
    Move {
        /// Which deployment.
        id: DeploymentId,
        /// Which host.
        host: HostName,
        /// Where it is.
        from: &'static str,
        /// Where the record wants it.
        to: &'static str,
    },
}

impl Deployment {
    /// Makes a deployment of a plan and takes its first step.
    ///
    /// `offline` are the hosts that have no session now; `by` is who asked for it.
    ///
    /// # Errors
    /// When the plan does not pass [`Plan::check`].
    pub fn create(
        id: DeploymentId,
        plan: &Plan,
        by: &str,
        offline: &BTreeSet<HostName>,
        now: Timestamp,
    ) -> Result<(Self, Step), ReplayError> {
        let records = records_of(id, plan, by, now);
        // What is live was replayed from the first moment on.
        let mut deployment = Self::replay(records.iter().cloned())?;
        deployment.observed.after_restart = false;
        for host in offline {
            deployment.observe_session(host, false, now);
        }
        let mut draft = Draft::of(records);
        deployment.advance(&mut draft, now);
        let step = deployment.finish(draft);
        Ok((deployment, step))
    }

    /// What follows from an event. The records of the step are applied already.
    pub fn on_event(&mut self, event: Event, now: Timestamp) -> Step {
        let mut draft = Draft::default();
        self.take(&mut draft, event, now);
        self.finish(draft)
    }

    /// The deployment that wrote the records. It has no reports yet: nothing is concluded from their absence.
    ///
    /// # Errors
    /// When a record makes no sense where it stands.
    pub fn replay<I>(records: I) -> Result<Self, ReplayError>
    where
        I: IntoIterator<Item = Record>,
    {
        let mut records = records.into_iter();
        let mut deployment = match records.next() {
            Some(first) => Self::from_created(first)?,
            None => return Err(ReplayError::NoBeginning { found: None }),
        };
        for record in records {
            deployment.apply(&record)?;
        }
        deployment.observed.after_restart = true;
        Ok(deployment)
    }

    /// The next moment at which something happens by itself: send [`Event::Tick`] then. `None` where nothing does.
    /// After a replay it lies in the past: the journal may have been cut within a step, which then goes on.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let stage = match &self.facts.state {
            DeploymentState::Ended { .. } => return None,
            DeploymentState::Planning
            | DeploymentState::Running { .. }
            | DeploymentState::Paused { .. }
            | DeploymentState::RollingBack { .. }
                if self.observed.after_restart =>
            {
                return Some(self.facts.created_at);
            }
            DeploymentState::Running { phase: StagePhase::Baking { until, deadline }, .. } => {
                Some(if self.observed.unconfirmed.is_empty() { *until } else { *deadline })
            }
            DeploymentState::Running {
                phase: StagePhase::Judging { until } | StagePhase::Migrating { until },
                ..
            } => Some(*until),
            DeploymentState::Planning
            | DeploymentState::Running {
                phase: StagePhase::Moving | StagePhase::Approving { .. } | StagePhase::Closing,
                ..
            }
            | DeploymentState::Paused { .. }
            | DeploymentState::RollingBack { .. } => None,
        };
        let host = self.index.deadlines.first().map(|(at, _)| *at);
        [stage, host].into_iter().flatten().min()
    }
}

impl PartialEq for Deployment {
    fn eq(&self, other: &Self) -> bool {
        self.facts == other.facts
    }
}

impl Eq for Deployment {}

impl DeploymentState {
    /// The state in one word, as the protocol has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::RollingBack { .. } => "rolling back",
            Self::Ended { outcome: Outcome::Succeeded { .. } | Outcome::Returned { .. }, .. } => "succeeded",
            Self::Ended { outcome: Outcome::RolledBack { .. }, .. } => "rolled back",
            Self::Ended { outcome: Outcome::NeedsPerson { .. }, .. } => "needs a person",
        }
    }
}
