//! The loop around the fleet's state: collects what is asked, decides, writes one commit, waits for it, acts.

use super::{
    effects::Effects, operators::Roster, persist, refusal::Refusal, reports::Reports, state::State,
    vitals::Vitals,
};
use crate::{
    audit::{AuditLog, Deed, Refusals},
    blobs::Bundles,
    events::{self, EventKind, Events},
    metrics::Metrics,
    store::{Keyspace, Store},
};
use handover_model::{DeploymentId, HostName, HostReport, Measurement, ServiceName, Timestamp};
use handover_proto::v1;
use handover_rollout::{Deployment, Moment};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How many questions wait at most; who comes then waits for a place.
const QUEUE: usize = 1024;
/// How many are decided in one commit.
const BATCH: usize = 256;
/// The fleet looks at the clock and at who was heard at least that often.
const TURN: Duration = Duration::from_secs(1);
/// Between two looks at the clock at least: a deadline that does not pass must not burn a core.
const BREATH: Duration = Duration::from_millis(2);

/// The way to a session.
#[derive(Debug)]
pub struct Link {
    /// The session's number.
    pub session: u64,
    /// The latest target; a later one replaces it.
    pub target: watch::Sender<Option<Arc<v1::Target>>>,
    /// Flips whose reports have come: of each service, for which order. Those of the latest report replace the others.
    pub confirms: watch::Sender<BTreeMap<ServiceName, u64>>,
    /// Asks the host for what its instances wrote.
    pub logs: mpsc::Sender<v1::ReadLogs>,
    /// Asks the host to run a command beside an instance.
    pub commands: mpsc::Sender<v1::RunCommand>,
    /// Ends the session.
    pub end: oneshot::Sender<Refusal>,
}

/// What lies before the fleet while it decides one thing.
#[derive(Debug)]
pub struct Desk<'a> {
    /// Everything that is known.
    pub state: &'a mut State,
    /// Ways to the sessions.
    pub links: &'a mut BTreeMap<HostName, Link>,
    /// What follows.
    pub effects: &'a mut Effects,
    /// The time.
    pub now: Timestamp,
}

type Answer = Box<dyn FnOnce(Result<(), Refusal>) + Send>;
type Question = Box<dyn FnOnce(&mut Desk<'_>) -> Answer + Send>;

/// Why the fleet stopped.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "the fleet's state cannot be written down any more: {0}; start the server again once the cause is gone"
)]
pub struct FleetError(pub Refusal);

/// A handle to the fleet; cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    questions: mpsc::Sender<Question>,
    reports: Arc<Reports>,
    refusals: Arc<Refusals>,
    changes: watch::Receiver<u64>,
    roster: watch::Receiver<Roster>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    events: Events,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

impl Fleet {
    /// Loads the fleet and starts its task, which runs until `stop`, or until the store fails.
    ///
    /// # Errors
    /// When the store's content is not a fleet's.
    pub async fn start(
        store: Arc<dyn Store>,
        bundles: Bundles,
        stop: CancellationToken,
    ) -> Result<(Self, tokio::task::JoinHandle<Result<(), FleetError>>), persist::LoadError> {
        let now = clock();
        let from = Arc::clone(&store);
        let (state, first) = tokio::task::spawn_blocking(move || persist::load(&*from, now))
            .await
            .map_err(|error| persist::LoadError::Stopped(error.to_string()))??;
        let (questions, asked) = mpsc::channel(QUEUE);
        let reports = Arc::new(Reports::default());
        let refusals = Arc::new(Refusals::default());
        let (changed, changes) = watch::channel(0);
        let metrics = Arc::new(Metrics::new());
        let events = Events::default();
        events.publish(events::from_store(&state));
        let (roster_in, roster) = watch::channel(Arc::clone(state.operators()));
        let actor = Actor {
            state,
            links: BTreeMap::new(),
            asked,
            reports: Arc::clone(&reports),
            refusals: Arc::clone(&refusals),
            changed,
            roster: roster_in,
            store: Arc::clone(&store),
            bundles,
            metrics: Arc::clone(&metrics),
            events: events.clone(),
            now,
        };
        let task = tokio::spawn(actor.run(first, stop));
        Ok((Self { questions, reports, refusals, changes, roster, store, metrics, events }, task))
    }

    /// Has something decided, and answers once everything that follows is durable.
    ///
    /// # Errors
    /// What `decide` refuses; and that the server stops.
    pub async fn ask<T, F>(&self, decide: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&mut Desk<'_>) -> Result<T, Refusal> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |desk| {
            let decided = decide(desk);
            Box::new(move |written: Result<(), Refusal>| {
                // Who asked may be gone; what was decided holds all the same.
                let _ = reply.send(written.and(decided));
            })
        });
        self.questions.send(question).await.map_err(|_| Refusal::Stopping)?;
        answer.await.map_err(|_| Refusal::Stopping)?
    }

    /// How much there is, from a fleet that still decides and a store that still takes what it decides.
    ///
    /// # Errors
    /// When the store has failed, or the server stops.
    pub async fn vitals(&self) -> Result<Vitals, Refusal> {
        let vitals = self.ask(|desk| Ok(desk.state.vitals())).await?;
        // A store that has failed refuses to be read as well. The key need not be there.
        self.store.get(Keyspace::Fleet, b"pulse").map_err(|error| Refusal::Store(error.to_string()))?;
        Ok(vitals)
    }

    /// A host says what it runs, and made these flips then. Never waits.
    pub fn report(
        &self,
        host: &HostName,
        session: u64,
        report: HostReport,
        flipped: BTreeMap<ServiceName, Moment>,
    ) {
        self.reports.report(host, session, report, flipped);
    }

    /// A host says what one of its services did. Never waits.
    pub fn measured(&self, host: &HostName, session: u64, measurement: Measurement) {
        self.reports.measured(host, session, measurement);
    }

    /// A host says that it is there. Never waits.
    pub fn alive(&self, host: &HostName, session: u64) {
        self.reports.alive(host, session);
    }

    /// Has a refused call told in the audit, now or counted together with others. Never waits.
    pub fn refused(&self, deed: Deed) {
        self.refusals.note(deed, clock());
    }

    /// Every operator, and each change of that.
    #[must_use]
    pub fn roster(&self) -> watch::Receiver<Roster> {
        self.roster.clone()
    }

    /// The audit.
    #[must_use]
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::new(Arc::clone(&self.store))
    }

    /// Counts up whenever something that can be seen has changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// What the server counts.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// What happened.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// A deployment as the journal has it, also one that ended long ago.
    ///
    /// # Errors
    /// When the journal cannot be read or makes no sense.
    pub async fn from_journal(&self, id: DeploymentId) -> Result<Deployment, Refusal> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || persist::replay(&*store, id).map(|(engine, _)| engine))
            .await
            .map_err(|error| Refusal::Internal(error.to_string()))?
            .map_err(|error| Refusal::Internal(error.to_string()))
    }
}

impl Fleet {
    /// Some records of a deployment as the journal has them, from number `from` on; fewer than `limit` where it ends.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn records(
        &self,
        id: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<handover_rollout::Record>, Refusal> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || persist::records(&*store, id, from, limit))
            .await
            .map_err(|error| Refusal::Internal(error.to_string()))?
            .map_err(|error| Refusal::Internal(error.to_string()))
    }
}

struct Actor {
    state: State,
    links: BTreeMap<HostName, Link>,
    asked: mpsc::Receiver<Question>,
    reports: Arc<Reports>,
    refusals: Arc<Refusals>,
    changed: watch::Sender<u64>,
    roster: watch::Sender<Roster>,
    store: Arc<dyn Store>,
    bundles: Bundles,
    metrics: Arc<Metrics>,
    events: Events,
    now: Timestamp,
}

impl Actor {
    async fn run(mut self, first: Effects, stop: CancellationToken) -> Result<(), FleetError> {
        self.commit(first, Vec::new(), Ok(())).await?;
        loop {
            let mut questions = Vec::new();
            let pause = self.pause();
            tokio::select! {
                () = stop.cancelled() => return self.last_words().await,
                count = self.asked.recv_many(&mut questions, BATCH) => {
                    if count == 0 {
                        return Ok(());
                    }
                }
                () = self.reports.wait() => {}
                () = self.refusals.wait() => {}
                () = tokio::time::sleep(pause) => {}
            }
            self.turn(questions).await?;
        }
    }

    /// Refusals that are still being counted are told before the end.
    async fn last_words(&mut self) -> Result<(), FleetError> {
        let now = self.now.max(clock());
        let mut effects = Effects::default();
        let told = self.tell_refusals(now, true, &mut effects);
        self.commit(effects, Vec::new(), told).await
    }

    fn tell_refusals(&mut self, now: Timestamp, all: bool, effects: &mut Effects) -> Result<(), Refusal> {
        self.refusals.take(now, all).into_iter().try_for_each(|deed| self.state.record(deed, now, effects))
    }

    /// Until the next moment at which something happens by itself.
    fn pause(&self) -> Duration {
        let next = self.state.next_tick().map_or(TURN, |at| at.since(clock()));
        next.clamp(BREATH, TURN)
    }

    /// Decides everything that lies there and commits it together.
    async fn turn(&mut self, questions: Vec<Question>) -> Result<(), FleetError> {
        // A wall clock that is set back must not let deadlines pass twice.
        self.now = self.now.max(clock());
        let now = self.now;
        let mut effects = Effects::default();
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            let mut desk =
                Desk { state: &mut self.state, links: &mut self.links, effects: &mut effects, now };
            answers.push(question(&mut desk));
        }
        let heard = self.reports.take();
        let decided = heard
            .into_iter()
            .try_for_each(|(host, heard)| {
                self.state.measured(&host, heard.session, heard.measured, now);
                match heard.report {
                    Some(report) => {
                        self.state.flipped(&host, heard.session, heard.flipped);
                        self.state.report(&host, heard.session, report, now, &mut effects)
                    }
                    None => {
                        self.state.heard(&host, heard.session, now);
                        Ok(())
                    }
                }
            })
            .and_then(|()| self.state.tick(now, &mut effects))
            .and_then(|()| self.tell_refusals(now, false, &mut effects));
        self.commit(effects, answers, decided).await
    }

    /// Writes, waits until it is durable, acts, answers. A store that fails ends the fleet: its state is ahead of
    /// what is written, and only a new start makes them one again.
    async fn commit(
        &mut self,
        effects: Effects,
        answers: Vec<Answer>,
        decided: Result<(), Refusal>,
    ) -> Result<(), FleetError> {
        let Effects { writes, targets, confirms, end_sessions, changed, roster, events, keep_bundles } =
            effects;
        let written = match decided {
            Ok(()) if writes.is_empty() => Ok(()),
            Ok(()) => {
                let _under_way = self.metrics.commit_begins();
                persist::commit(&self.store, writes).await
            }
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = written {
            tracing::error!(%refusal, "the fleet's state cannot be written down: the server stops");
            for answer in answers {
                answer(Err(refusal.clone()));
            }
            return Err(FleetError(refusal));
        }
        if roster {
            self.roster.send_replace(Arc::clone(self.state.operators()));
        }
        for (host, refusal) in end_sessions {
            if let Some(link) = self.links.remove(&host) {
                let _ = link.end.send(refusal);
            }
        }
        for host in targets {
            self.send_target(&host);
        }
        for (host, confirms) in confirms {
            if let Some(link) = self.links.get(&host) {
                link.confirms.send_replace(confirms);
            }
        }
        self.tell(events);
        if changed {
            self.changed.send_modify(|count| *count += 1);
        }
        for answer in answers {
            answer(Ok(()));
        }
        if let Some(keep) = keep_bundles {
            persist::prune(&self.bundles, keep);
        }
        Ok(())
    }

    /// Counts and remembers what happened.
    fn tell(&self, events: Vec<events::Event>) {
        for event in &events {
            match event.kind {
                EventKind::DeploymentSucceeded => self.metrics.deployment_ended("succeeded"),
                EventKind::DeploymentRolledBack => self.metrics.deployment_ended("rolled_back"),
                EventKind::DeploymentNeedsPerson => self.metrics.deployment_ended("needs_person"),
                EventKind::ReleasePushed
                | EventKind::DeploymentCreated
                | EventKind::StageEntered
                | EventKind::HostFailed
                | EventKind::DeploymentPaused
                | EventKind::DeploymentResumed
                | EventKind::DeploymentHeld
                | EventKind::DeploymentPromoted
                | EventKind::SchemaMigrated
                | EventKind::HostRetried
                | EventKind::RollbackStarted
                | EventKind::HostEnrolled
                | EventKind::HostConnected
                | EventKind::HostDisconnected
                | EventKind::HostRemoved
                | EventKind::CertificateRenewed
                | EventKind::HostCopied
                | EventKind::TargetRefused
                | EventKind::InstanceReady
                | EventKind::InstanceUnhealthy
                | EventKind::InstanceFailed
                | EventKind::InstanceGaveUp => {}
            }
        }
        self.events.publish(events);
    }

    fn send_target(&self, host: &HostName) {
        let Some(link) = self.links.get(host) else { return };
        match self.state.target(host) {
            Ok(target) => {
                link.target.send_replace(Some(Arc::new(v1::Target::from(&target))));
            }
            Err(refusal) => tracing::error!(%host, %refusal, "the host's target cannot be made"),
        }
    }
}

/// The wall clock.
#[must_use]
pub(super) fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
