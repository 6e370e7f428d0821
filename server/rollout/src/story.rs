//! A deployment's records as a story: for each record one sentence that an operator can read.

use crate::{
    Former, HostState, Inconclusive, Migration, OfflinePolicy, OnFailure, Outcome, Policy, Record, Stage,
    rules::seconds,
};
use handover_model::{DrainLedger, HostName, Share, Timestamp};

/// One line of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When it became true; for a part of the plan, when the plan was made.
    pub at: Timestamp,
    /// The stage that went on then, from 0; `None` before the first one.
    pub stage: Option<u32>,
    /// Which host it is about; `None` where it is about the whole.
    pub host: Option<HostName>,
    /// What happened, and why.
    pub text: String,
}

/// Tells records one after the other: knows the stage and the time of those that carry none themselves.
#[derive(Clone, Debug, Default)]
pub struct Story {
    at: Timestamp,
    stage: Option<u32>,
}

impl Story {
    /// The next record's line.
    pub fn tell(&mut self, record: &Record) -> Told {
        if let Some(at) = record.at() {
            self.at = at;
        }
        match record {
            Record::Started { .. } => self.stage = Some(0),
            Record::StageEntered { stage, .. } => self.stage = Some(*stage),
            Record::Created { .. }
            | Record::Planned { .. }
            | Record::LeftOut { .. }
            | Record::BakeStarted { .. }
            | Record::FlipsMeasured { .. }
            | Record::BakePassed { .. }
            | Record::JudgementPassed { .. }
            | Record::JudgementHeld { .. }
            | Record::MigrationStarted { .. }
            | Record::Migrated { .. }
            | Record::Promoted { .. }
            | Record::HostMoved { .. }
            | Record::HostFailed { .. }
            | Record::Paused { .. }
            | Record::PausedBy { .. }
            | Record::Resumed { .. }
            | Record::HostRetried { .. }
            | Record::RollbackStarted { .. }
            | Record::DeadlinesLifted { .. }
            | Record::Ended { .. } => {}
        }
        Told { at: self.at, stage: self.stage, host: record.host().cloned(), text: sentence(record) }
    }
}

impl Record {
    /// When it became true; `None` for parts of the plan.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Planned { .. } | Self::LeftOut { .. } => None,
            Self::Created { at, .. }
            | Self::Started { at }
            | Self::StageEntered { at, .. }
            | Self::BakeStarted { at, .. }
            | Self::FlipsMeasured { at, .. }
            | Self::BakePassed { at }
            | Self::JudgementPassed { at, .. }
            | Self::JudgementHeld { at, .. }
            | Self::MigrationStarted { at, .. }
            | Self::Migrated { at, .. }
            | Self::Promoted { at, .. }
            | Self::HostMoved { at, .. }
            | Self::HostFailed { at, .. }
            | Self::Paused { at, .. }
            | Self::PausedBy { at, .. }
            | Self::Resumed { at, .. }
            | Self::HostRetried { at, .. }
            | Self::RollbackStarted { at, .. }
            | Self::DeadlinesLifted { at, .. }
            | Self::Ended { at, .. } => Some(*at),
        }
    }

    /// Which host it is about; `None` where it is about the whole.
    #[must_use]
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::HostMoved { host, .. } | Self::HostFailed { host, .. } | Self::HostRetried { host, .. } => {
                Some(host)
            }
            Self::Created { .. }
            | Self::Planned { .. }
            | Self::LeftOut { .. }
            | Self::Started { .. }
            | Self::StageEntered { .. }
            | Self::BakeStarted { .. }
            | Self::FlipsMeasured { .. }
            | Self::BakePassed { .. }
            | Self::JudgementPassed { .. }
            | Self::JudgementHeld { .. }
            | Self::MigrationStarted { .. }
            | Self::Migrated { .. }
            | Self::Promoted { .. }
            | Self::Paused { .. }
            | Self::PausedBy { .. }
            | Self::Resumed { .. }
            | Self::RollbackStarted { .. }
            | Self::DeadlinesLifted { .. }
            | Self::Ended { .. } => None,
        }
    }
}

/// What a record says, as a sentence without a full stop.
#[must_use]
pub fn sentence(record: &Record) -> String {
    match record {
        Record::Created { id, release, by, policy, .. } => {
            format!("{by} began {id}, to carry {release}: {}", allowed(policy))
        }
        Record::Planned { stage, part: Stage { migration: Some(migration), .. } } => {
            let Migration { host, phase, within, on_failure, resolve } = migration;
            let stage = stage.saturating_add(1);
            let within = seconds(*within);
            let failed = if_failed(*on_failure);
            let resolve = resolve.map(|found| format!("; what was found: {found}")).unwrap_or_default();
            format!(
                "planned for stage {stage}: the {phase} migrations, run by {host} within {within}; if they fail, {failed}{resolve}"
            )
        }
        Record::Planned { stage, part } => {
            format!(
                "planned for stage {}: {}: {} of new connections{}, healthy for {}{}",
                stage.saturating_add(1),
                listed(part.hosts.iter().map(|planned| planned.host.as_str())),
                part.share,
                if part.at_once { ", all in one step" } else { "" },
                seconds(part.bake),
                what_follows(part)
            )
        }
        Record::LeftOut { hosts } => {
            let each = hosts.iter().map(|(host, reason)| format!("{host} ({reason})"));
            format!("left out: {}", listed(each))
        }
        Record::Started { .. } => "the plan is written; the first stage begins".to_owned(),
        Record::StageEntered { stage, .. } => format!("stage {} begins", stage.saturating_add(1)),
        Record::BakeStarted { at, until, .. } => {
            let time = seconds(until.since(*at));
            format!("every host of the stage has its share; the stage must stay healthy for {time}")
        }
        Record::FlipsMeasured { skew, .. } => skew.to_string(),
        Record::BakePassed { .. } => "the stage stayed healthy".to_owned(),
        Record::JudgementPassed { verdict, .. } => format!("the judge lets it go on{}", because(verdict)),
        Record::JudgementHeld { verdict, .. } => {
            format!("the judge came to no verdict in time; a person decides{}", because(verdict))
        }
        Record::MigrationStarted { at, until } => {
            format!("the migrations of the stage begin; they may take {}", seconds(until.since(*at)))
        }
        Record::Migrated { phase, version, .. } => {
            format!("the {phase} migrations are applied; the schema is at {version}")
        }
        Record::Promoted { by, .. } => format!("promoted by {by}"),
        Record::HostMoved { to, at, .. } => moved(to, *at),
        Record::HostFailed { reason, .. } => format!("failed: {reason}"),
        Record::Paused { reason, .. } => format!("paused until a person decides, because {reason}"),
        Record::PausedBy { by, reason, .. } => {
            format!("paused by {by}{}: nothing begins until it is resumed", because(reason))
        }
        Record::Resumed { by, .. } => format!("resumed by {by}"),
        Record::HostRetried { by, .. } => {
            format!("given another attempt by {by}; it waits for its turn again")
        }
        Record::RollbackStarted { reason, .. } => format!("every touched host goes back, because {reason}"),
        Record::DeadlinesLifted { at, to } => format!(
            "the server was away: no deadline passes for {}, so that hosts can report",
            seconds(to.since(*at))
        ),
        Record::Ended { outcome, .. } => ended(outcome),
    }
}

/// What a stage asks for after its bake.
fn what_follows(stage: &Stage) -> String {
    let mut parts = Vec::new();
    if let Some(judged) = stage.judged {
        let then = match judged.inconclusive {
            Inconclusive::Hold => "a person decides",
            Inconclusive::RollBack => "everything goes back",
            Inconclusive::GoOn => "it goes on",
        };
        let within = seconds(judged.within);
        parts.push(format!(", a verdict of the judge within {within}, without one {then}"));
    }
    if stage.approval {
        parts.push(", the approval of a person".to_owned());
    }
    if stage.retire {
        parts.push(", then the old instances end".to_owned());
    }
    if stage.returns {
        parts.push(", then every host goes back".to_owned());
    }
    parts.concat()
}

fn allowed(policy: &Policy) -> String {
    let failed = if_failed(policy.on_failure);
    let offline = match policy.offline {
        OfflinePolicy::Wait { deadline } => {
            format!("hosts that are offline are waited for {}", seconds(deadline))
        }
        OfflinePolicy::Skip => "hosts that are offline are skipped".to_owned(),
        OfflinePolicy::Fail => "hosts that are offline fail".to_owned(),
    };
    let warm = if policy.keep_warm.is_zero() {
        String::new()
    } else {
        format!("; the old instances stand by for {} afterwards", seconds(policy.keep_warm))
    };
    let confirm = if policy.confirm.is_zero() {
        String::new()
    } else {
        format!("; a flip that is not confirmed within {} is undone", seconds(policy.confirm))
    };
    format!(
        "at most {} in flight, {} may fail, after that {failed}; {offline}{warm}{confirm}",
        policy.max_in_flight, policy.failures_allowed
    )
}

fn if_failed(on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::RollBack => "everything goes back",
        OnFailure::Pause => "it pauses",
    }
}

fn moved(to: &HostState, at: Timestamp) -> String {
    let within = |until: &Timestamp| seconds(until.since(at));
    match to {
        HostState::Pending => "is online again and waits for its turn".to_owned(),
        HostState::Offline { until, .. } => {
            format!("its turn came while it is offline; it is waited for {}", within(until))
        }
        HostState::Starting { until, .. } => format!(
            "the new instance starts, hidden, beside the old one; it must be ready within {}",
            within(until)
        ),
        HostState::Shifting { until, share, .. } => {
            format!(
                "the new instance is ready and is to get {share} of new connections within {}",
                within(until)
            )
        }
        HostState::Baking { share: Share::HIDDEN, .. } => {
            "the new instance is ready; it stays hidden for now".to_owned()
        }
        HostState::Baking { share, .. } => {
            format!("the new instance has {share} of new connections in the kernel; the old one stands by")
        }
        HostState::Retiring { until, .. } => {
            format!("the old instance finishes its connections, within {}", within(until))
        }
        HostState::Done { standby: true, note, .. } => {
            format!("done: the new instance has everything, the old one stands by{}", because(note))
        }
        HostState::Done { ledger, note, .. } => {
            format!("done: the new instance runs alone{}{}", counted(*ledger), because(note))
        }
        HostState::Skipped { reason } => format!("skipped, untouched{}", because(reason)),
        HostState::Removed { .. } => {
            "removed from the fleet; nothing can be ordered there any more".to_owned()
        }
        HostState::Restarting { until, .. } => format!(
            "goes back: the former release is started again beside the new one; it must be ready within {}",
            within(until)
        ),
        HostState::ShiftingBack { until, former: Former::Kept, .. } => {
            format!(
                "goes back: the old instance, which never ended, gets everything within {}",
                within(until)
            )
        }
        HostState::ShiftingBack { until, former: Former::StartedAgain, .. } => {
            format!(
                "goes back: the former release is ready again and gets everything within {}",
                within(until)
            )
        }
        HostState::RetiringNew { until, .. } => {
            format!("goes back: the new instance finishes its connections, within {}", within(until))
        }
        HostState::Returned { standby: true, note, .. } => {
            format!("back as it was before; the other instance stands by again{}", because(note))
        }
        HostState::Returned { ledger, note, former, .. } => {
            let how = match former {
                Former::Kept => "as it was before",
                Former::StartedAgain => "on the former release, started again",
            };
            format!("back {how}{}{}", counted(*ledger), because(note))
        }
        HostState::Stuck { reason, .. } => format!("stuck, a person is needed{}", because(reason)),
    }
}

fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded { hosts: 0, failed: 0 } => "succeeded: the migrations are applied".to_owned(),
        Outcome::Succeeded { hosts, failed: 0 } => format!("succeeded: {} the release", run(*hosts)),
        Outcome::Succeeded { hosts, failed } => {
            format!("succeeded: {} the release, {failed} failed and do not", run(*hosts))
        }
        Outcome::Returned { hosts, failed } => {
            let had = if *hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") };
            let failed = if *failed == 0 { String::new() } else { format!(", {failed} failed") };
            format!("succeeded: {had} had the release and went back as planned{failed}")
        }
        Outcome::RolledBack { reason } => format!("rolled back because {reason}"),
        Outcome::NeedsPerson { reason, .. } => format!("ended and needs a person, because {reason}"),
    }
}

fn run(hosts: u32) -> String {
    if hosts == 1 { "1 host runs".to_owned() } else { format!("{hosts} hosts run") }
}

fn counted(ledger: Option<DrainLedger>) -> String {
    let Some(ledger) = ledger else { return String::new() };
    let DrainLedger { connections, force_closed, reset, .. } = ledger;
    format!(" ({connections} connections when it was told to end, {force_closed} cut, {reset} reset)")
}

/// A reason behind a sentence; nothing where there is none.
fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// Names in a row: the first few, and how many more.
fn listed<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    const NAMED: usize = 8;
    let names: Vec<T> = names.collect();
    let first: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
