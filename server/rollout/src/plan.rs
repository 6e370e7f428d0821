//! The plan: what every strategy becomes. Immutable once a deployment runs it, but for the stages that retries add
//! behind the last one.

use crate::Placement;
use handover_model::{
    Duration, HostName, InstanceId, Labels, ReleaseRef, Resolution, SchemaPhase, ServiceName, Share,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Carrying one release to some hosts, stage by stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Whose release.
    pub service: ServiceName,
    /// What the hosts get.
    pub release: ReleaseRef,
    /// In order. A host may stand in several, with another share in each; the last one retires its old instance, or takes
    /// the host back.
    pub stages: Vec<Stage>,
    /// What is allowed and how long things may take.
    pub policy: Policy,
    /// Hosts that the plan leaves out, and why.
    pub skipped: Vec<(HostName, String)>,
}

/// A set of hosts, the share that the new release gets there, and what must hold before the next stage; or a phase of
/// the release's migrations, which changes no host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// In the order in which they are changed; none where the stage migrates.
    pub hosts: Vec<PlannedHost>,
    /// The new release's share. A host that had nothing before gives it all as soon as this is above 0.
    pub share: Share,
    /// How long all hosts of the stage must stay healthy with that share.
    pub bake: Duration,
    /// Whether the old instances are taken out at the stage's end. Needs a share of all.
    pub retire: bool,
    /// Whether every host goes back at the stage's end instead: what the deployment is for is that it could. All hosts of a
    /// plan end so, or none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub returns: bool,
    /// Whether all hosts change in one step, however many [`Policy::max_in_flight`] allows at the same time.
    #[serde(default, skip_serializing_if = "is_false")]
    pub at_once: bool,
    /// Whether a judge has to pass the new release after the bake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judged>,
    /// Whether a person has to promote the new release then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub approval: bool,
    /// What is done to the schema instead of changing hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
}

impl Stage {
    /// A stage that only has to stay healthy: no judge, no approval, hosts as the policy allows.
    #[must_use]
    pub fn plain(hosts: Vec<PlannedHost>, share: Share, bake: Duration, retire: bool) -> Self {
        Self {
            hosts,
            share,
            bake,
            retire,
            returns: false,
            at_once: false,
            judged: None,
            approval: false,
            migration: None,
        }
    }

    /// A stage that migrates and changes no host.
    #[must_use]
    pub fn migrating(migration: Migration) -> Self {
        Self { migration: Some(migration), ..Self::plain(Vec::new(), Share::HIDDEN, Duration::ZERO, false) }
    }

    /// Whether it is the last stage of its hosts.
    pub(crate) const fn ends(&self) -> bool {
        self.retire || self.returns
    }

    /// The same without hosts.
    pub(crate) fn shape(&self) -> Self {
        Self { hosts: Vec::new(), migration: self.migration.clone(), ..*self }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A phase of the release's migrations: what a stage does to the schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Whose agent runs them.
    pub host: HostName,
    /// Which of them.
    pub phase: SchemaPhase,
    /// How long they may take.
    pub within: Duration,
    /// What happens if they fail.
    pub on_failure: OnFailure,
    /// What a person found of one that an earlier deployment left half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve: Option<Resolution>,
}

/// What a stage asks of a judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// How long it may take after the bake to come to a verdict.
    pub within: Duration,
    /// What happens if it does not.
    pub inconclusive: Inconclusive,
}

/// What happens where a judge came to no verdict in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inconclusive {
    /// A person decides.
    Hold,
    /// Every touched host goes back.
    RollBack,
    /// The deployment goes on.
    GoOn,
}

/// A host of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedHost {
    /// Its name.
    pub host: HostName,
    /// What runs there now and is gone back to; `None` where the service is new on the host.
    pub from: Option<Placement>,
    /// The instance of the plan's release that stands by there: it gets its share at once and nothing is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<InstanceId>,
}

impl PlannedHost {
    /// A host where the release has to be started.
    #[must_use]
    pub const fn new(host: HostName, from: Option<Placement>) -> Self {
        Self { host, from, standby: None }
    }
}

/// What a deployment may do, and how long each wait may last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Most hosts that start or shift at the same time; at least 1.
    pub max_in_flight: u32,
    /// Failed hosts that are borne: each goes back alone and the rest goes on.
    pub failures_allowed: u32,
    /// What happens at one failure more.
    pub on_failure: OnFailure,
    /// What becomes of a host that is offline when its turn comes.
    pub offline: OfflinePolicy,
    /// From the order to readiness: the manifest's readiness deadline and an allowance for fetching the bundle.
    pub ready_deadline: Duration,
    /// From the order to the shares being in the kernel. Also how long after a bake a host may take to report.
    pub flip_deadline: Duration,
    /// From the order to the instance being gone: queues, drain deadline and some slack.
    pub retire_deadline: Duration,
    /// How long the old instances stand by after the deployment, hidden, so that going back is one flip; zero: they are
    /// taken out at the end of their stage.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub keep_warm: Duration,
    /// How soon after each flip that gives the new release a share the host must have its confirmation, or undoes it; zero:
    /// it needs none. Where a host had nothing before there is nothing to undo.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub confirm: Duration,
}

/// What happens when more hosts failed than are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Every touched host goes back.
    RollBack,
    /// The failed host goes back; everything else stays until a person decides.
    Pause,
}

/// What becomes of a host that is offline when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfflinePolicy {
    /// Its stage waits for it; where it is not back by the deadline it counts as failed, untouched.
    Wait {
        /// From its turn on.
        deadline: Duration,
    },
    /// It is left out. Coming back later it gets the service's current release from the server.
    Skip,
    /// It counts as failed, untouched.
    Fail,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No host has the labels that the manifest asks for.
    #[error(
        "no host of the fleet has the labels that {service} asks for ({}); there are {existing} hosts: label one with `handover hosts label`, or change `hosts` in the manifest",
        written(.labels)
    )]
    NoHosts {
        /// Whose hosts.
        service: ServiceName,
        /// What the manifest asks for; empty: any host.
        labels: Labels,
        /// How many hosts the fleet has.
        existing: usize,
    },
    /// Hosts that were asked for by name and are not among those that the manifest's labels choose.
    #[error(
        "{} not in the fleet or without the labels that {service} asks for ({})",
        names(.hosts),
        written(.labels)
    )]
    NotChosen {
        /// Whose hosts.
        service: ServiceName,
        /// Those that were asked for in vain.
        hosts: Vec<HostName>,
        /// What the manifest asks for.
        labels: Labels,
    },
    /// Every host was left out.
    #[error("nothing to do for {release}: {}", reasons(.skipped))]
    NothingToDo {
        /// What should have been deployed.
        release: ReleaseRef,
        /// Each host and why it was left out.
        skipped: Vec<(HostName, String)>,
    },
    /// The release belongs to another service than the plan.
    #[error("release {release} does not belong to service {service}")]
    ForeignRelease {
        /// The plan's service.
        service: ServiceName,
        /// The release.
        release: ReleaseRef,
    },
    /// There is no stage, or one with neither hosts nor a migration.
    #[error("the plan has no stages, or stage {stage} has neither hosts nor a migration")]
    Empty {
        /// Which stage, from 0.
        stage: usize,
    },
    /// A stage that migrates names hosts, a share or a bake as well.
    #[error("stage {stage} migrates and changes hosts as well: each needs a stage of its own")]
    Mixed {
        /// Which stage, from 0.
        stage: usize,
    },
    /// No host may be changed at all.
    #[error("the plan allows no host in flight; it needs at least 1")]
    NoneInFlight,
    /// A host stands in a stage twice, or differently in two stages.
    #[error("host {host} stands twice in a stage, or comes from two different instances")]
    Twice {
        /// Which host.
        host: HostName,
    },
    /// A stage retires old instances although the new ones have not all shares.
    #[error(
        "stage {stage} retires the old instances while the new ones have {share} of the connections, not all"
    )]
    RetiresTooEarly {
        /// Which stage, from 0.
        stage: usize,
        /// The new release's share in it.
        share: Share,
    },
    /// A host's last stage neither retires its old instance nor takes it back, or one before it does.
    #[error("host {host} must be retired or taken back in the last stage that names it, and only there")]
    Unfinished {
        /// Which host.
        host: HostName,
    },
    /// Some hosts are to go back at the plan's end and others are not.
    #[error(
        "stage {stage} retires old instances in a plan that takes hosts back: all of its hosts end so, or none"
    )]
    ReturnsInPart {
        /// Which stage, from 0.
        stage: usize,
    },
}

impl Plan {
    /// The plan with migrations before and after what it does to hosts. Where it is empty so far: migrations alone.
    #[must_use]
    pub fn with_migrations(mut self, before: Option<Migration>, after: Option<Migration>) -> Self {
        self.stages.splice(0..0, before.map(Stage::migrating));
        self.stages.extend(after.map(Stage::migrating));
        self
    }

    /// What its stages migrate, in order.
    pub fn migrations(&self) -> impl Iterator<Item = &Migration> {
        self.stages.iter().filter_map(|stage| stage.migration.as_ref())
    }

    /// Whether it changes no host: its migrations are all that there is.
    #[must_use]
    pub fn only_migrates(&self) -> bool {
        self.stages.iter().all(|stage| stage.migration.is_some())
    }

    /// Whether every host goes back at the end.
    #[must_use]
    pub fn returns(&self) -> bool {
        self.stages.iter().any(|stage| stage.returns)
    }

    /// Checks what must hold of every plan, whoever made it: the engine runs no other.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.release.service != self.service {
            return Err(PlanError::ForeignRelease {
                service: self.service.clone(),
                release: self.release.clone(),
            });
        }
        if self.stages.is_empty() {
            return Err(PlanError::Empty { stage: 0 });
        }
        if self.policy.max_in_flight == 0 {
            return Err(PlanError::NoneInFlight);
        }
        let mut seen: BTreeMap<&HostName, (usize, &PlannedHost)> = BTreeMap::new();
        for (number, stage) in self.stages.iter().enumerate() {
            if stage.hosts.is_empty() && stage.migration.is_none() {
                return Err(PlanError::Empty { stage: number });
            }
            if let Some(migration) = &stage.migration
                && *stage != Stage::migrating(migration.clone())
            {
                return Err(PlanError::Mixed { stage: number });
            }
            if stage.retire && self.returns() {
                return Err(PlanError::ReturnsInPart { stage: number });
            }
            if stage.retire && stage.share != Share::ALL {
                return Err(PlanError::RetiresTooEarly { stage: number, share: stage.share });
            }
            for planned in &stage.hosts {
                let Some((before, other)) = seen.insert(&planned.host, (number, planned)) else { continue };
                if before == number || other.from != planned.from {
                    return Err(PlanError::Twice { host: planned.host.clone() });
                }
                if self.stages.get(before).is_some_and(Stage::ends) {
                    return Err(PlanError::Unfinished { host: planned.host.clone() });
                }
            }
        }
        let unfinished =
            seen.into_iter().find(|(_, (last, _))| !self.stages.get(*last).is_some_and(Stage::ends));
        match unfinished {
            Some((host, _)) => Err(PlanError::Unfinished { host: host.clone() }),
            None => Ok(()),
        }
    }
}

fn written(labels: &Labels) -> String {
    if labels.is_empty() {
        return "none: every host is meant".to_owned();
    }
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

fn names(hosts: &[HostName]) -> String {
    let some: Vec<_> = hosts.iter().take(10).map(HostName::as_str).collect();
    let verb = if hosts.len() == 1 { "is" } else { "are" };
    match hosts.len().saturating_sub(some.len()) {
        0 => format!("{} {verb}", some.join(", ")),
        more => format!("{} and {more} more {verb}", some.join(", ")),
    }
}

fn reasons(skipped: &[(HostName, String)]) -> String {
    let mut counts: BTreeMap<&str, (usize, &HostName)> = BTreeMap::new();
    for (host, reason) in skipped {
        counts.entry(reason).or_insert((0, host)).0 += 1;
    }
    let said: Vec<_> = counts
        .into_iter()
        .take(10)
        .map(|(reason, (count, host))| match count {
            1 => format!("{host}: {reason}"),
            _ => format!("{count} hosts: {reason}"),
        })
        .collect();
    said.join("; ")
}
