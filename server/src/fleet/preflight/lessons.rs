//! What deployments showed that the next one's preflight goes by: starts, drains, ways back.
//!
//! It follows from the engine's records as they become durable and is written with them, as what rehearsals showed is.

use super::super::{
    effects::Effects,
    records::{Ending, Purpose, deployment_key},
    refusal::Refusal,
    state::State,
};
use crate::store::Keyspace;
use handover_model::{
    DeploymentId, DrainLedger, HostName, ServiceName, Timestamp, Version, config::ListenerName,
};
use handover_rollout::{Deployment, HostState, Plan, Record};
use serde::{Deserialize, Serialize};

/// Of how many deployments of a service it is remembered.
const KEPT: usize = 20;
/// How many starts of a deployment are remembered: the first ones.
const STARTS: usize = 8;
/// How many listeners of a start are named.
const UNSERVED: usize = 2;
/// How many hosts of a deployment are named on which somebody was cut off.
const CUT_ON: usize = 8;

/// What one deployment showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LessonRecord {
    /// Of which service.
    pub service: ServiceName,
    /// What it carried.
    pub version: Version,
    /// The service's current release when it began.
    pub from: Option<Version>,
    /// What it was for.
    pub purpose: Purpose,
    /// When it began.
    pub began: Timestamp,
    /// When and how it ended; `None` while it goes on.
    pub ended: Option<(Timestamp, Ending)>,
    /// Instances that it started, as they became ready.
    pub(super) starts: Vec<Start>,
    /// What became of the connections of those that were drained.
    pub(super) drained: Drained,
    /// Whether the release had a share on any host.
    pub(super) served: bool,
    /// When it began to go back.
    pub(super) back_began: Option<Timestamp>,
}

/// An instance that was started and became ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    /// Where.
    pub(super) host: HostName,
    /// In which attempt, from 1.
    pub(super) attempt: u32,
    /// Milliseconds from exec until it was ready.
    pub(super) ready_millis: u64,
    /// Probes until then that were not answered well; `None` where nobody asked, or nobody counted.
    pub(super) unready_probes: Option<u32>,
    /// Listeners on which it accepted nothing when it was ready, the first ones; `None` where that is not known.
    pub(super) unserved: Option<Vec<ListenerName>>,
}

/// The ledgers of all instances that a deployment drained.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Drained {
    /// How many told theirs.
    pub(super) instances: u32,
    /// Connections that were open when they were told to drain.
    pub(super) connections: u64,
    /// Of these, cut at the deadline.
    pub(super) force_closed: u64,
    /// Reset in a queue.
    pub(super) reset: u64,
    /// Instances that did not end by themselves.
    pub(super) killed: u32,
    /// Hosts on which somebody was cut off, the first ones.
    pub(super) cut_on: Vec<HostName>,
}

impl Drained {
    fn add(&mut self, host: &HostName, ledger: &DrainLedger) {
        let DrainLedger { connections, force_closed, reset, killed, queues_millis: _, drain_millis: _ } =
            *ledger;
        self.instances = self.instances.saturating_add(1);
        self.connections = self.connections.saturating_add(connections);
        self.force_closed = self.force_closed.saturating_add(force_closed);
        self.reset = self.reset.saturating_add(reset);
        self.killed = self.killed.saturating_add(killed.into());
        if force_closed.saturating_add(reset) > 0 && self.cut_on.len() < CUT_ON {
            self.cut_on.push(host.clone());
        }
    }

    /// Connections that were cut off.
    pub(super) const fn cut(&self) -> u64 {
        self.force_closed.saturating_add(self.reset)
    }
}

impl LessonRecord {
    fn begun(plan: &Plan, from: Option<Version>, purpose: Purpose, now: Timestamp) -> Self {
        Self {
            service: plan.service.clone(),
            version: plan.release.version.clone(),
            from,
            purpose,
            began: now,
            ended: None,
            starts: Vec::new(),
            drained: Drained::default(),
            served: false,
            back_began: None,
        }
    }

    /// Takes a record of its deployment in. False where it says nothing new.
    fn note(&mut self, record: &Record, engine: &Deployment) -> bool {
        let (host, to) = match record {
            Record::HostMoved { host, to, .. } => (host, to),
            Record::RollbackStarted { at, .. } => {
                self.back_began = Some(*at);
                return true;
            }
            _ => return false,
        };
        match to {
            HostState::Baking { share, .. } => {
                let served = !share.is_hidden() && !std::mem::replace(&mut self.served, true);
                self.started(host, engine) || served
            }
            HostState::Done { ledger: Some(ledger), .. }
            | HostState::Returned { ledger: Some(ledger), .. } => {
                self.drained.add(host, ledger);
                self.started(host, engine);
                true
            }
            // What its agent found out after it was ready may have come by now.
            HostState::Shifting { .. }
            | HostState::Retiring { .. }
            | HostState::ShiftingBack { .. }
            | HostState::RetiringNew { .. }
            | HostState::Done { ledger: None, .. } => self.started(host, engine),
            HostState::Pending
            | HostState::Offline { .. }
            | HostState::Starting { .. }
            | HostState::Skipped { .. }
            | HostState::Removed { .. }
            | HostState::Restarting { .. }
            | HostState::Returned { ledger: None, .. }
            | HostState::Stuck { .. } => false,
        }
    }

    /// A host has its candidate ready. One that stood by was started by another deployment.
    fn started(&mut self, host: &HostName, engine: &Deployment) -> bool {
        let Some(view) = engine.host(host) else { return false };
        let Some((instance, report)) = view.new_instance else { return false };
        let Some(ready_millis) = report.ready_millis else { return false };
        let unserved = report.unserved.as_ref();
        let unserved = unserved.map(|listeners| listeners.iter().take(UNSERVED).cloned().collect());
        let known = |start: &&mut Start| start.host == *host && start.attempt == view.attempt;
        if let Some(known) = self.starts.iter_mut().find(known) {
            let more = known.unserved.is_none() && unserved.is_some();
            known.unserved = known.unserved.take().or(unserved);
            return more;
        }
        if self.starts.len() >= STARTS || instance.deployment() != Some(engine.id()) {
            return false;
        }
        self.starts.push(Start {
            host: host.clone(),
            attempt: view.attempt,
            ready_millis,
            unready_probes: report.unready_probes,
            unserved,
        });
        true
    }
}

impl State {
    /// What the deployments of a service showed that are remembered, the newest first.
    pub(super) fn lessons_of<'a>(
        &'a self,
        service: &'a ServiceName,
    ) -> impl Iterator<Item = (DeploymentId, &'a LessonRecord)> {
        let of_service = self.lessons.iter().rev().filter(move |(_, lesson)| lesson.service == *service);
        of_service.map(|(id, lesson)| (*id, lesson))
    }

    /// A deployment begins.
    pub(in crate::fleet) fn begin_lesson(
        &mut self,
        id: DeploymentId,
        plan: &Plan,
        purpose: Purpose,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        // What changes no host teaches nothing, and would take the place of what did.
        if purpose == Purpose::Migration {
            return Ok(());
        }
        let from = self.services.get(&plan.service).and_then(|service| service.current.clone());
        let lesson = LessonRecord::begun(plan, from, purpose, now);
        effects.put(Keyspace::Lessons, deployment_key(id), &lesson)?;
        self.lessons.insert(id, lesson);
        Ok(())
    }

    /// A deployment went on.
    pub(in crate::fleet) fn note_lesson(
        &mut self,
        id: DeploymentId,
        records: &[Record],
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let (Some(lesson), Some(live)) = (self.lessons.get_mut(&id), self.live.get(&id)) else {
            return Ok(());
        };
        let mut changed = false;
        for record in records {
            changed |= lesson.note(record, &live.engine);
        }
        match changed {
            true => effects.put(Keyspace::Lessons, deployment_key(id), lesson),
            false => Ok(()),
        }
    }

    /// A deployment ended. What the oldest ones of its service showed is forgotten.
    pub(in crate::fleet) fn end_lesson(
        &mut self,
        id: DeploymentId,
        ending: Ending,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(lesson) = self.lessons.get_mut(&id) else { return Ok(()) };
        lesson.ended = Some((now, ending));
        effects.put(Keyspace::Lessons, deployment_key(id), lesson)?;
        let service = lesson.service.clone();
        let old: Vec<DeploymentId> = self.lessons_of(&service).skip(KEPT).map(|(id, _)| id).collect();
        for id in old {
            self.lessons.remove(&id);
            effects.delete(Keyspace::Lessons, deployment_key(id));
        }
        Ok(())
    }
}
