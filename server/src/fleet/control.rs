//! What operators do to a deployment: pause it, let it go on, end it, give hosts another attempt. Each may be asked
//! for twice: the second time it says so and changes nothing.

use super::{
    effects::Effects,
    locks::{Asker, reason_of},
    records::{DeploymentRecord, Ending, Purpose},
    refusal::Refusal,
    services::CATCH_UP,
    state::State,
};
use handover_model::{DeploymentId, Digest, HostName, ReleaseRef, ServiceName, Timestamp};
use handover_rollout::{Deployment, DeploymentState, Event, HostState};
use std::collections::BTreeSet;

/// Which deployment is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The one of this number.
    Deployment(DeploymentId),
    /// The newest of this service.
    Newest(ServiceName),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing more begins.
    Pause {
        /// Why; may be empty.
        reason: String,
    },
    /// It goes on.
    Resume,
    /// A release that waits to be promoted goes on.
    Promote,
    /// Every touched host goes back.
    Abort {
        /// Why; may be empty.
        reason: String,
    },
    /// Hosts that failed or were skipped get another attempt.
    Retry {
        /// Which; empty: all of them.
        hosts: BTreeSet<HostName>,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controlled {
    /// The deployment; for a retry after the end the new one.
    pub deployment: DeploymentId,
    /// What was done, in a sentence.
    pub said: String,
}

impl Act {
    /// The command's name.
    const fn name(&self) -> &'static str {
        match self {
            Self::Pause { .. } => "pause",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::Abort { .. } => "abort",
            Self::Retry { .. } => "retry",
        }
    }

    /// What a request is remembered as: two with one id must ask for the same.
    fn remembered(&self, whose: &Whose) -> String {
        let whose = match whose {
            Whose::Deployment(id) => id.to_string(),
            Whose::Newest(service) => service.to_string(),
        };
        match self {
            Self::Retry { hosts } if !hosts.is_empty() => {
                let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
                format!("retry {whose} {}", Digest::of(names.join(",").as_bytes()))
            }
            Self::Pause { .. } | Self::Resume | Self::Promote | Self::Abort { .. } | Self::Retry { .. } => {
                format!("{} {whose}", self.name())
            }
        }
    }
}

impl State {
    /// The number of a deployment that is meant.
    ///
    /// # Errors
    /// When there is none.
    pub fn whose(&self, whose: &Whose) -> Result<DeploymentId, Refusal> {
        match whose {
            Whose::Deployment(id) if self.deployments.contains_key(id) => Ok(*id),
            Whose::Deployment(id) => Err(Refusal::NoDeployment(id.to_string())),
            Whose::Newest(service) => self.newest_deployment(service),
        }
    }

    /// Does something to a deployment. `ended` is the deployment itself where it has ended and is not in memory: a
    /// retry looks at its hosts.
    ///
    /// # Errors
    /// When there is no such deployment, a lock is in the way, or it cannot be done where the deployment is.
    pub fn control(
        &mut self,
        whose: &Whose,
        act: &Act,
        ended: Option<&Deployment>,
        asker: &Asker,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Controlled, Refusal> {
        let what = act.remembered(whose);
        if let Some(before) = self.answered(&asker.request, &what)?
            && let Some(deployment) = before.deployment
        {
            return Ok(Controlled { deployment, said: before.said.clone() });
        }
        let id = self.whose(whose)?;
        let service = self.deployment(id)?.0.release.service.clone();
        let command = format!("handover {} {service}", act.name());
        let taken = self.pass_locks(&service, asker, &command, now)?;
        // Checked before the locks change hands: what is refused changes nothing.
        let done = if let Some(live) = self.live.get(&id) {
            let (event, said) = decided(act, &live.engine, &asker.by)?;
            self.take_locks(taken, asker, now, effects)?;
            if let Some(event) = event {
                self.drive(id, event, now, effects)?;
            }
            Controlled { deployment: id, said }
        } else {
            self.control_ended(id, act, ended, taken, asker, now, effects)?
        };
        tracing::info!(deployment = %done.deployment, by = asker.by, act = act.name(), said = done.said, "control");
        self.remember(&asker.request, &what, Some(done.deployment), &done.said, effects)?;
        Ok(done)
    }

    #[expect(clippy::too_many_arguments, reason = "one step of `control`, with all that it knows")]
    fn control_ended(
        &mut self,
        id: DeploymentId,
        act: &Act,
        ended: Option<&Deployment>,
        taken: Vec<super::locks::LockScope>,
        asker: &Asker,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Controlled, Refusal> {
        let record = self.deployment(id)?.0.clone();
        match act {
            Act::Pause { .. } | Act::Resume | Act::Promote => {
                Err(Refusal::DeploymentEnded { deployment: id, how: how(&record) })
            }
            // Aborting twice is one abort: the second time it has ended already, as it should.
            Act::Abort { .. } if went_back(&record) => {
                self.take_locks(taken, asker, now, effects)?;
                Ok(Controlled { deployment: id, said: format!("{id} has ended already: {}", how(&record)) })
            }
            Act::Abort { .. } if record.purpose == Purpose::Rehearsal => {
                let how = format!("{}; it was a rehearsal, and its host is back", how(&record));
                Err(Refusal::DeploymentEnded { deployment: id, how })
            }
            Act::Abort { .. } if record.purpose == Purpose::Migration => {
                let how = format!("{}; what it applied to the schema stays", how(&record));
                Err(Refusal::DeploymentEnded { deployment: id, how })
            }
            Act::Abort { .. } => {
                let how = format!(
                    "{}; `handover rollback {}` goes back to the release before it",
                    how(&record),
                    record.release.service
                );
                Err(Refusal::DeploymentEnded { deployment: id, how })
            }
            Act::Retry { hosts } => {
                let engine = self.finals.get(&id).map(|live| &live.engine).or(ended);
                let engine = engine.ok_or_else(|| Refusal::NoDeployment(id.to_string()))?;
                let purpose = self.purpose_of_retry(id, &record)?;
                let hosts = left_behind(id, engine, hosts)?;
                let ReleaseRef { service, version } = &record.release;
                let command = format!("handover deploy {service} --version {version} --host HOST");
                self.pass_freezes(service, None, asker, &command, now)?;
                self.free(service)?;
                let plan = self.plan_for(&record.release, &hosts, now)?;
                self.take_locks(taken, asker, now, effects)?;
                let new = self.begin(&plan, purpose, &asker.by, "", now, effects)?;
                let said = format!(
                    "{id} has ended: {new} carries {} to {}",
                    record.release,
                    listed(plan.stages.iter().flat_map(|stage| &stage.hosts).map(|planned| &planned.host))
                );
                Ok(Controlled { deployment: new, said })
            }
        }
    }

    /// What a deployment is for that brings a release to hosts that an ended one left behind.
    fn purpose_of_retry(&self, id: DeploymentId, record: &DeploymentRecord) -> Result<Purpose, Refusal> {
        let ReleaseRef { service, version } = &record.release;
        if record.purpose == Purpose::Rehearsal {
            return Err(Refusal::NotNow(format!(
                "{id} was a rehearsal and has ended: {}; `handover rehearse {service} --release {version}` makes another",
                how(record)
            )));
        }
        if record.purpose == Purpose::Migration {
            return Err(Refusal::NotNow(format!(
                "{id} was a migration and has ended: {}; `handover migrate status {service}` shows what there is to apply",
                how(record)
            )));
        }
        if !matches!(record.ended, Some((_, Ending::Succeeded))) {
            return Err(Refusal::NotNow(format!(
                "{id} has ended: {}; nothing of it stands that a host could be added to: once the cause is gone, `handover deploy {service} --version {version}` tries it on every host",
                how(record)
            )));
        }
        if record.purpose == Purpose::NamedHosts {
            return Ok(Purpose::NamedHosts);
        }
        let current = self.services.get(service).and_then(|service| service.current.as_ref());
        if current != Some(version) {
            let current = current.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            return Err(Refusal::NotNow(format!(
                "{service} is at {current} by now, {id} carried {version}: `handover deploy {service} --version {version} --host HOST` brings it to single hosts"
            )));
        }
        Ok(Purpose::CatchUp)
    }
}

/// What an act means for a deployment that goes on: the event, if anything changes, and what is said.
fn decided(act: &Act, engine: &Deployment, by: &str) -> Result<(Option<Event>, String), Refusal> {
    let (id, service, by) = (engine.id(), engine.service(), by.to_owned());
    let back = match engine.state() {
        DeploymentState::RollingBack { reason, .. } => Some(reason),
        DeploymentState::Planning
        | DeploymentState::Running { .. }
        | DeploymentState::Paused { .. }
        | DeploymentState::Ended { .. } => None,
    };
    let paused = engine.paused().is_some();
    match (act, back) {
        (Act::Abort { .. }, Some(reason)) => Ok((None, format!("{id} is going back already: {reason}"))),
        (Act::Pause { .. } | Act::Resume | Act::Promote | Act::Retry { .. }, Some(reason)) => {
            Err(Refusal::NotNow(format!(
                "{id} is going back ({reason}), which is neither paused nor turned: `handover watch {service}` shows its end"
            )))
        }
        (Act::Abort { reason }, None) => {
            let reason = reason_of(reason);
            Ok((Some(Event::Abort { by, reason }), format!("{id} goes back on every host that it touched")))
        }
        (Act::Pause { .. }, None) if paused => {
            Ok((None, format!("{id} is paused already: {}", engine.reason())))
        }
        (Act::Pause { reason }, None) => {
            let said = format!(
                "{id} is paused: no host begins a change; `handover resume {service}` goes on, `handover abort {service}` goes back"
            );
            Ok((Some(Event::Pause { by, reason: reason_of(reason) }), said))
        }
        (Act::Resume, None) if paused => Ok((Some(Event::Resume { by }), format!("{id} goes on"))),
        (Act::Resume, None) => Ok((None, format!("{id} is running: there was nothing to resume"))),
        (Act::Promote, None) if engine.takes_promotion() => {
            Ok((Some(Event::Promote { by }), format!("{id} is promoted and goes on")))
        }
        (Act::Promote, None) if paused => Err(Refusal::NotNow(format!(
            "{id} is paused: `handover resume {service}` lets it go on, and then it may be promoted"
        ))),
        (Act::Promote, None) => Ok((None, format!("{id} does not wait to be promoted: nothing was changed"))),
        (Act::Retry { hosts }, None) => {
            if let Some((host, why)) = hosts.iter().find_map(|host| Some((host, engine.no_retry(host)?))) {
                return Err(Refusal::NotNow(format!("host {host} cannot be retried in {id}: it {why}")));
            }
            let chosen: Vec<&HostName> =
                engine.retryable().filter(|host| hosts.is_empty() || hosts.contains(*host)).collect();
            if chosen.is_empty() {
                return Err(Refusal::NotNow(format!(
                    "no host of {id} failed or was skipped and is at rest: there is nothing to retry"
                )));
            }
            let wait = if paused {
                format!("; {id} is paused: their turn comes after `handover resume {service}`")
            } else {
                String::new()
            };
            let said = format!("{id}: another attempt for {}{wait}", listed(chosen.into_iter()));
            Ok((Some(Event::Retry { by, hosts: hosts.clone() }), said))
        }
    }
}

/// The hosts that an ended deployment did not bring to its release, of those asked for.
fn left_behind(
    id: DeploymentId,
    engine: &Deployment,
    asked: &BTreeSet<HostName>,
) -> Result<BTreeSet<HostName>, Refusal> {
    if let Some(host) = asked.iter().find(|host| engine.host(host).is_none()) {
        return Err(Refusal::NotNow(format!("host {host} is not in the plan of {id}")));
    }
    let left = engine.hosts().filter(|view| match view.state {
        HostState::Done { .. } | HostState::Removed { .. } => false,
        HostState::Pending
        | HostState::Offline { .. }
        | HostState::Starting { .. }
        | HostState::Shifting { .. }
        | HostState::Baking { .. }
        | HostState::Retiring { .. }
        | HostState::Skipped { .. }
        | HostState::Restarting { .. }
        | HostState::ShiftingBack { .. }
        | HostState::RetiringNew { .. }
        | HostState::Returned { .. }
        | HostState::Stuck { .. } => true,
    });
    let hosts: BTreeSet<HostName> =
        left.map(|view| view.host.clone()).filter(|host| asked.is_empty() || asked.contains(host)).collect();
    if hosts.is_empty() {
        return Err(Refusal::NotNow(format!("{id} left no such host behind: there is nothing to retry")));
    }
    Ok(hosts)
}

fn went_back(record: &DeploymentRecord) -> bool {
    matches!(record.ended, Some((_, Ending::RolledBack | Ending::NeedsPerson)))
}

fn how(record: &DeploymentRecord) -> String {
    let ending = match record.ended {
        Some((_, Ending::Succeeded)) => "succeeded",
        Some((_, Ending::RolledBack)) => "rolled back",
        Some((_, Ending::NeedsPerson)) => "needs a person",
        None => "going on",
    };
    let by = if record.created_by == CATCH_UP { ", begun by the server" } else { "" };
    let why = if record.reason.is_empty() { String::new() } else { format!(": {}", record.reason) };
    format!("{ending}{by}{why}")
}

/// Some names, the rest as a number.
pub(super) fn listed<'a>(hosts: impl Iterator<Item = &'a HostName>) -> String {
    const NAMED: usize = 8;
    let names: Vec<&str> = hosts.map(HostName::as_str).collect();
    let first: Vec<&str> = names.iter().take(NAMED).copied().collect();
    match names.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
