//! Why nothing moves: what is waited for, until when, and what happens then.

use crate::{
    ApprovalCause, Deployment, DeploymentState, Former, HostState, Inconclusive, OnFailure, PauseCause,
    StagePhase, Verdict,
    deployment::Track,
    host::Kind,
    index::awaits_turn,
    rules::{phase_name, seconds},
};
use handover_model::{HostName, InstanceId, Timestamp};

/// What a deployment or a host waits for, in an operator's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingOn {
    /// What is waited for.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None`: for a person, without a deadline.
    pub until: Option<Timestamp>,
    /// What happens then.
    pub then: String,
}

impl Deployment {
    /// What the deployment as a whole waits for; `None` once it ended.
    #[must_use]
    pub fn waiting_on(&self) -> Option<WaitingOn> {
        let until = self.next_deadline();
        let batch = self.batch();
        let (what, since, until, then) = match &self.facts.state {
            DeploymentState::Ended { .. } => return None,
            DeploymentState::Planning => {
                let what = "its plan to be written".to_owned();
                (what, self.facts.created_at, Some(self.facts.created_at), "it ends untouched".to_owned())
            }
            DeploymentState::Paused { reason, since, cause, .. } => {
                (format!("a person: {reason}"), *since, None, self.after_a_pause(*cause))
            }
            DeploymentState::RollingBack { reason, since } => {
                let what = format!("{} to go back: {reason}", hosts(self.index.all.of(Kind::Returning)));
                let then = "a host that is not back by its deadline is reported as stuck".to_owned();
                (what, *since, until, then)
            }
            DeploymentState::Running { phase: StagePhase::Moving, since } => {
                (format!("{batch}: {}", self.moving()), *since, until, self.at_failure())
            }
            DeploymentState::Running { phase: StagePhase::Baking { until: end, .. }, since } => {
                let what = self.baking(&batch, end.since(*since));
                (what, *since, until, "the next step, or a failed host where one has not reported".to_owned())
            }
            DeploymentState::Running { phase: StagePhase::Judging { .. }, since } => {
                (format!("{batch}: {}", self.judging()), *since, until, self.without_verdict())
            }
            DeploymentState::Running { phase: StagePhase::Migrating { .. }, since } => {
                (format!("{batch}: {}", self.migrating()), *since, until, self.without_migration())
            }
            DeploymentState::Running { phase: StagePhase::Approving { cause }, since } => {
                (format!("a person: {}", self.approving(*cause)), *since, None, self.commands())
            }
            DeploymentState::Running { phase: StagePhase::Closing, since } => {
                let retiring = self.index.here.of(Kind::Retiring);
                let returning = self.index.all.of(Kind::Returning);
                let mut parts = Vec::new();
                if retiring > 0 {
                    parts.push(format!("the old instances of {} to finish", hosts(retiring)));
                }
                if returning > 0 {
                    parts.push(format!("{} to go back", hosts(returning)));
                }
                let then = "it goes on and notes what is still there".to_owned();
                (format!("{batch}: {}", parts.join(", ")), *since, until, then)
            }
        };
        Some(WaitingOn { what, since, until, then })
    }

    /// What a host waits for; `None` where it waits for nothing.
    #[must_use]
    pub fn waiting_on_host(&self, host: &HostName) -> Option<WaitingOn> {
        let track = self.facts.tracks.get(host)?;
        let new = self.new_of(track);
        let old = self.former_of(track).map(|former| former.instance);
        let old_name = old.as_ref().map_or("the service", |old| old.as_str());
        let until = track.state.deadline();
        let fails = "it counts as failed and goes back".to_owned();
        let sticks = "it is reported as stuck; its former release stays ordered".to_owned();
        let (what, since, until, then) = match &track.state {
            HostState::Pending => return self.before_its_turn(track),
            HostState::Baking { since, .. } => return self.while_standing(track, *since),
            HostState::Done { .. }
            | HostState::Skipped { .. }
            | HostState::Removed { .. }
            | HostState::Returned { .. }
            | HostState::Stuck { .. } => return None,
            HostState::Offline { since, .. } if self.paused().is_some() => (
                "the host to come online, and a person: the deployment is paused".to_owned(),
                *since,
                None,
                "nothing by itself; the time that it is waited for stands still".to_owned(),
            ),
            HostState::Offline { since, .. } => (
                "the host to come online".to_owned(),
                *since,
                until,
                "it counts as failed, untouched".to_owned(),
            ),
            HostState::Starting { since, .. } => {
                (format!("{new} to become ready{}", self.now_is(host, new)), *since, until, fails)
            }
            HostState::Shifting { since, .. } if self.undoes_by(host).is_some() => {
                let what = format!("word from {host}, which was not heard since its flip");
                let then = "it has undone it by itself, unless it was confirmed; not heard of for longer it counts as failed";
                (what, *since, self.undoes_by(host), then.to_owned())
            }
            HostState::Shifting { since, share, .. } => {
                let what = format!("{new} to get {share} of new connections{}", self.now_is(host, new));
                (what, *since, until, fails)
            }
            HostState::Retiring { since, .. } => {
                let then = "the host counts as done, with a note".to_owned();
                (format!("{old_name} to finish its connections"), *since, until, then)
            }
            HostState::Restarting { since, .. } => {
                let instance = &self.names_of(track).again;
                (format!("{instance} to become ready{}", self.now_is(host, instance)), *since, until, sticks)
            }
            HostState::ShiftingBack { since, former, .. } => {
                let which = match former {
                    Former::Kept => "",
                    Former::StartedAgain => ", started again,",
                };
                (format!("{old_name}{which} to get all new connections back"), *since, until, sticks)
            }
            HostState::RetiringNew { since, .. } => {
                let then = match old {
                    Some(_) => "the host counts as back, with a note".to_owned(),
                    None => "it is reported as stuck, unless the instance is finishing".to_owned(),
                };
                (format!("{new} to finish its connections"), *since, until, then)
            }
        };
        Some(WaitingOn { what, since, until, then })
    }

    fn before_its_turn(&self, track: &Track) -> Option<WaitingOn> {
        let since = match &self.facts.state {
            DeploymentState::Running { since, .. } => *since,
            DeploymentState::Paused { since, .. } => return Some(self.for_a_person(*since)),
            // It will not have its turn any more.
            DeploymentState::Planning
            | DeploymentState::RollingBack { .. }
            | DeploymentState::Ended { .. } => {
                return None;
            }
        };
        let what = if track.stage == self.facts.stage {
            format!("its turn: at most {} may change at once", hosts(self.in_flight_allowed()))
        } else {
            let stages = self.facts.plan.stages.len();
            format!("its turn in batch {} of {stages}; now {}", track.stage.saturating_add(1), self.batch())
        };
        Some(WaitingOn { what, since, until: self.next_deadline(), then: self.at_failure() })
    }

    fn while_standing(&self, track: &Track, stands_since: Timestamp) -> Option<WaitingOn> {
        let until = self.next_deadline();
        let batch = self.batch();
        let (what, since, then) = match &self.facts.state {
            DeploymentState::Planning | DeploymentState::Ended { .. } => return None,
            DeploymentState::Paused { since, .. } => return Some(self.for_a_person(*since)),
            DeploymentState::RollingBack { since, .. } => {
                ("to go back".to_owned(), *since, "it goes back".to_owned())
            }
            DeploymentState::Running { phase: StagePhase::Baking { until, .. }, since }
                if track.stage == self.facts.stage =>
            {
                let then = "the next step, where every host of the batch is well".to_owned();
                (self.baking(&batch, until.since(*since)), *since, then)
            }
            DeploymentState::Running { since, phase: StagePhase::Judging { .. } }
                if track.stage == self.facts.stage =>
            {
                (self.judging(), *since, self.without_verdict())
            }
            DeploymentState::Running { since, phase: StagePhase::Approving { cause } }
                if track.stage == self.facts.stage =>
            {
                let what = format!("a person: {}", self.approving(*cause));
                return Some(WaitingOn { what, since: *since, until: None, then: self.commands() });
            }
            DeploymentState::Running { since, phase: StagePhase::Moving }
                if track.stage == self.facts.stage && awaits_turn(track, &self.facts.plan) =>
            {
                let what = format!(
                    "its turn to get its share: at most {} may change at once",
                    hosts(self.in_flight_allowed())
                );
                (what, *since, self.at_failure())
            }
            DeploymentState::Running { .. } => {
                (format!("the others: {batch}, {}", self.moving()), stands_since, self.at_failure())
            }
        };
        Some(WaitingOn { what, since, until, then })
    }

    /// What each command does to a paused deployment.
    fn after_a_pause(&self, cause: PauseCause) -> String {
        let service = &self.facts.plan.service;
        let goes_on = match (cause, self.facts.plan.policy.on_failure) {
            (PauseCause::Failures, _) if self.migration().is_some() => "runs the migrations again".to_owned(),
            (PauseCause::Operator, on_failure) if self.facts.failures > self.failures_borne() => {
                let failed = hosts(usize::try_from(self.facts.failures).unwrap_or(usize::MAX));
                match on_failure {
                    OnFailure::RollBack => format!("takes every touched host back, since {failed} failed"),
                    OnFailure::Pause => format!("asks again, since {failed} failed"),
                }
            }
            (PauseCause::Failures, _) => "bears the failures so far and goes on".to_owned(),
            (PauseCause::Operator, _) => "goes on".to_owned(),
        };
        format!(
            "nothing by itself: `handover resume {service}` {goes_on}, `handover abort {service}` takes every touched host back"
        )
    }

    fn for_a_person(&self, since: Timestamp) -> WaitingOn {
        let then = "nothing by itself".to_owned();
        WaitingOn { what: "a person: the deployment is paused".to_owned(), since, until: None, then }
    }

    fn judging(&self) -> String {
        let said = match &self.observed.verdict {
            Some(Verdict::Pass(line) | Verdict::Fail(line) | Verdict::NeedsMoreData(line)) => line,
            None => "it has seen nothing yet",
        };
        format!("the judge's verdict ({said})")
    }

    fn without_verdict(&self) -> String {
        let judged = self.current_stage().and_then(|stage| stage.judged);
        let then = judged.map_or("the next step", |judged| match judged.inconclusive {
            Inconclusive::Hold => "a person decides",
            Inconclusive::RollBack => "every touched host goes back",
            Inconclusive::GoOn => "it goes on without a verdict",
        });
        then.to_owned()
    }

    fn approving(&self, cause: ApprovalCause) -> String {
        match cause {
            ApprovalCause::Plan => "the new release waits for its approval".to_owned(),
            ApprovalCause::Inconclusive => "the judge came to no verdict in time".to_owned(),
        }
    }

    /// What a person can do where the new release waits to be promoted.
    fn commands(&self) -> String {
        let service = &self.facts.plan.service;
        format!(
            "nothing by itself: `handover promote {service}` goes on, `handover abort {service}` takes every touched host back"
        )
    }

    fn batch(&self) -> String {
        let stages = self.facts.plan.stages.len();
        format!("batch {} of {stages}", usize::try_from(self.facts.stage).unwrap_or(0).saturating_add(1))
    }

    fn baking(&self, batch: &str, time: handover_model::Duration) -> String {
        let well = format!("{batch} to stay healthy for {}", seconds(time));
        match self.observed.unconfirmed.first() {
            None => well,
            Some(host) => match self.observed.unconfirmed.len() {
                1 => format!("{well}, and for {host} to report"),
                more => format!("{well}, and for {host} and {} more to report", more.saturating_sub(1)),
            },
        }
    }

    /// The hosts of the current stage that are not there yet, by state.
    fn moving(&self) -> String {
        let kinds = [
            (Kind::Starting, "starting"),
            (Kind::Shifting, "shifting"),
            (Kind::Offline, "offline"),
            (Kind::Pending, "waiting for their turn"),
            (Kind::Retiring, "finishing old connections"),
            (Kind::Returning, "going back"),
        ];
        let parts = kinds.into_iter().filter_map(|(kind, word)| match self.index.here.of(kind) {
            0 => None,
            number => Some(format!("{number} {word}")),
        });
        let parts: Vec<_> = parts.collect();
        if parts.is_empty() { "nothing left".to_owned() } else { parts.join(", ") }
    }

    fn at_failure(&self) -> String {
        let policy = &self.facts.plan.policy;
        if self.facts.failures < self.failures_borne() {
            return "a host that is late counts as failed and goes back alone".to_owned();
        }
        match policy.on_failure {
            OnFailure::RollBack => {
                "a host that is late counts as failed, and every touched host goes back".to_owned()
            }
            OnFailure::Pause => {
                "a host that is late goes back, and the deployment waits for a person".to_owned()
            }
        }
    }

    fn in_flight_allowed(&self) -> usize {
        usize::try_from(self.facts.plan.policy.max_in_flight).unwrap_or(usize::MAX)
    }

    /// What the agent says of an instance at the moment, to be put behind a sentence.
    fn now_is(&self, host: &HostName, instance: &InstanceId) -> String {
        let offline = self.observed.online(host) == Some(false);
        match self.observed.instance(host, instance) {
            Some(_) | None if offline => " (the host is offline)".to_owned(),
            None => String::new(),
            Some(report) if report.detail.is_empty() => format!(" ({})", phase_name(report.phase)),
            Some(report) => format!(" ({}: {})", phase_name(report.phase), report.detail),
        }
    }
}

fn hosts(number: usize) -> String {
    if number == 1 { "1 host".to_owned() } else { format!("{number} hosts") }
}
