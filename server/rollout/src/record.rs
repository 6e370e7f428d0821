//! Records: the durable facts of a deployment, in the order in which they became true.

use crate::{HostState, Outcome, Plan, PlannedHost, Policy, Skew, Stage};
use handover_model::{
    DeploymentId, HostName, ReleaseRef, SchemaPhase, SchemaVersion, ServiceName, Timestamp,
};
use serde::{Deserialize, Serialize};

/// One fact. At most 6 KiB as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The deployment exists. Always the first.
    Created {
        /// Its number.
        id: DeploymentId,
        /// Whose release.
        service: ServiceName,
        /// What is deployed.
        release: ReleaseRef,
        /// Who asked for it.
        by: String,
        /// What is allowed.
        policy: Policy,
        /// When.
        at: Timestamp,
    },
    /// Some hosts of a stage of the plan. A large stage takes several.
    Planned {
        /// Which stage, from 0.
        stage: u32,
        /// The stage, with at most 40 of its hosts.
        #[serde(flatten)]
        part: Stage,
    },
    /// Hosts that the plan leaves out, and why.
    LeftOut {
        /// At most 40.
        hosts: Vec<(HostName, String)>,
    },
    /// The plan is whole and its first stage begins.
    Started {
        /// When.
        at: Timestamp,
    },
    /// The next stage begins.
    StageEntered {
        /// Which, from 0.
        stage: u32,
        /// When.
        at: Timestamp,
    },
    /// Every host of the stage has its share: the stage must stay healthy from now on.
    BakeStarted {
        /// When.
        at: Timestamp,
        /// Until when.
        until: Timestamp,
        /// Hosts that have not reported themselves healthy by then count as failed.
        deadline: Timestamp,
    },
    /// Every host of the stage has its share, which was ordered in one step: how far apart they flipped.
    FlipsMeasured {
        /// In which stage, from 0.
        stage: u32,
        /// How far.
        skew: Skew,
        /// When that was known.
        at: Timestamp,
    },
    /// The stage stayed healthy, or nothing of it is left to bake.
    BakePassed {
        /// When.
        at: Timestamp,
    },
    /// The judge passed the new release in this stage, or the plan goes on without a verdict.
    JudgementPassed {
        /// The verdict in a line, at most 500 characters.
        verdict: String,
        /// When.
        at: Timestamp,
    },
    /// The judge came to no verdict in time: a person decides.
    JudgementHeld {
        /// What it said last, at most 500 characters; may be empty.
        verdict: String,
        /// When.
        at: Timestamp,
    },
    /// The stage's migrations are ordered.
    MigrationStarted {
        /// When.
        at: Timestamp,
        /// They have failed where they did not end by then.
        until: Timestamp,
    },
    /// The stage's migrations are applied.
    Migrated {
        /// Which of the release's.
        phase: SchemaPhase,
        /// What the schema is now.
        version: SchemaVersion,
        /// When.
        at: Timestamp,
    },
    /// A person lets the new release go on.
    Promoted {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A host came into another state.
    HostMoved {
        /// Which.
        host: HostName,
        /// Where it is now.
        to: HostState,
        /// When.
        at: Timestamp,
    },
    /// A host failed. Counted once for each host.
    HostFailed {
        /// Which.
        host: HostName,
        /// Why, at most 500 characters.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// More hosts failed than are allowed: a person decides.
    Paused {
        /// Why, at most 500 characters.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// An operator holds the deployment.
    PausedBy {
        /// Who.
        by: String,
        /// Why, in the operator's words, at most 500 characters; may be empty.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// An operator lets a paused deployment go on.
    Resumed {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// An operator gives a host that failed, or was skipped, another attempt: it waits for its turn again.
    HostRetried {
        /// Which.
        host: HostName,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// Every touched host goes back.
    RollbackStarted {
        /// Why, at most 500 characters.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// The server was away: deadlines that would have passed before the hosts could report were moved.
    DeadlinesLifted {
        /// When.
        at: Timestamp,
        /// No deadline is before this.
        to: Timestamp,
    },
    /// Nothing happens any more.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// When.
        at: Timestamp,
    },
}

/// Longest reason, in characters.
pub(crate) const MAX_REASON: usize = 500;
/// Longest name of who asked, in characters.
const MAX_BY: usize = 200;
/// Most hosts in one record.
const MAX_HOSTS: usize = 40;
/// Most bytes of hosts in one record, as JSON, by a generous estimate.
const MAX_HOST_BYTES: usize = 5_000;

/// The first characters of a text that came from outside.
pub(crate) fn clip(text: &str) -> String {
    clip_to(text, MAX_REASON)
}

/// The name of who asked for something.
pub(crate) fn clip_by(by: &str) -> String {
    clip_to(by, MAX_BY)
}

fn clip_to(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(3)).chain("...".chars()).collect(),
    }
}

impl Record {
    /// The record's name, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Planned { .. } => "planned",
            Self::LeftOut { .. } => "left_out",
            Self::Started { .. } => "started",
            Self::StageEntered { .. } => "stage_entered",
            Self::BakeStarted { .. } => "bake_started",
            Self::FlipsMeasured { .. } => "flips_measured",
            Self::BakePassed { .. } => "bake_passed",
            Self::JudgementPassed { .. } => "judgement_passed",
            Self::JudgementHeld { .. } => "judgement_held",
            Self::MigrationStarted { .. } => "migration_started",
            Self::Migrated { .. } => "migrated",
            Self::Promoted { .. } => "promoted",
            Self::HostMoved { .. } => "host_moved",
            Self::HostFailed { .. } => "host_failed",
            Self::Paused { .. } => "paused",
            Self::PausedBy { .. } => "paused_by",
            Self::Resumed { .. } => "resumed",
            Self::HostRetried { .. } => "host_retried",
            Self::RollbackStarted { .. } => "rollback_started",
            Self::DeadlinesLifted { .. } => "deadlines_lifted",
            Self::Ended { .. } => "ended",
        }
    }
}

/// The records that write a plan down, from `Created` to `Started`.
pub(crate) fn records_of(id: DeploymentId, plan: &Plan, by: &str, at: Timestamp) -> Vec<Record> {
    let mut records = vec![Record::Created {
        id,
        service: plan.service.clone(),
        release: plan.release.clone(),
        by: clip_by(by),
        policy: plan.policy.clone(),
        at,
    }];
    for (number, stage) in (0..).zip(&plan.stages) {
        let planned = |hosts: &[PlannedHost]| Record::Planned {
            stage: number,
            part: Stage { hosts: hosts.to_vec(), ..stage.shape() },
        };
        records.extend(stage.migration.is_some().then(|| planned(&[])));
        records.extend(chunks(&stage.hosts, planned_bytes).map(planned));
    }
    let skipped: Vec<_> = plan.skipped.iter().map(|(host, reason)| (host.clone(), clip(reason))).collect();
    // A character of a reason takes at most six bytes as JSON.
    let left_out = chunks(&skipped, |(host, reason)| host.as_str().len() + 6 * reason.len() + 8);
    records.extend(left_out.map(|hosts| Record::LeftOut { hosts: hosts.to_vec() }));
    records.push(Record::Started { at });
    records
}

fn planned_bytes(planned: &PlannedHost) -> usize {
    let from = planned.from.as_ref().map_or(4, |from| {
        let release = from.release.service.as_str().len() + from.release.version.as_str().len();
        from.instance.as_str().len() + release + 80
    });
    let standby = planned.standby.as_ref().map_or(0, |standby| standby.as_str().len() + 15);
    planned.host.as_str().len() + from + standby + 30
}

/// Cuts a list into pieces that fit into a record each.
fn chunks<'a, T>(mut rest: &'a [T], bytes: impl Fn(&T) -> usize + 'a) -> impl Iterator<Item = &'a [T]> {
    std::iter::from_fn(move || {
        let mut room = MAX_HOST_BYTES;
        let fits = rest.iter().take(MAX_HOSTS).take_while(|item| {
            let needed = bytes(item);
            let fits = needed <= room;
            room = room.saturating_sub(needed);
            fits
        });
        let count = fits.count().max(1).min(rest.len());
        let (chunk, after) = rest.split_at(count);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}
