//! Doing what `reconcile` ordered: each action written down before, or after where the kernel decides the outcome.

use super::{Held, Instance, Reporter, Supervisor, probing};
use crate::{
    clock::{nanos, now},
    confirming::AskedFlip,
    gates::GatesError,
    instance::{ExitStatus, Group, Process},
    journal::NotWritten,
    reconcile::Action,
    state::{Exited, Run, State, Then},
};
use handover_model::{DrainLedger, InstanceId, ServiceName, Share, Timestamp};
use nix::sys::signal::Signal;
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    time::{Duration, Instant},
};

/// How long killed processes may take to be gone.
const KILL_WAIT: Duration = Duration::from_secs(10);
pub(super) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

impl Supervisor {
    /// Does one thing.
    pub(super) fn act(&mut self, action: &Action) -> Outcome {
        let span = self.span(action);
        let _within = span.enter();
        tracing::debug!(?action);
        match action {
            Action::Fetch(id) => self.fetch(id),
            Action::Start(id) => self.start(id),
            Action::Fail(id) => self.fail(id),
            Action::AskConfirmation(flip) => self.ask_confirmation(flip),
            Action::MissConfirmation(service) => {
                self.miss_confirmation(service);
                Ok(())
            }
            Action::ForgetFlip(service) => {
                self.forget_flip(service);
                Ok(())
            }
            Action::SetShares(service, shares) => self.set_shares(service, shares),
            Action::Empty(id) => self.empty(id),
            Action::Drain(id) => self.drain(id),
            Action::Kill(id) => self.kill(id),
            Action::Forget(id) => self.forget(id),
        }
    }

    /// What every line that an action writes carries.
    fn span(&self, action: &Action) -> tracing::Span {
        match action {
            Action::SetShares(service, shares) => {
                // The instances' own lines say which deployment started each.
                let newest = shares.keys().filter_map(InstanceId::deployment).max();
                tracing::info_span!("shares", deployment = newest.map(tracing::field::display), %service)
            }
            Action::AskConfirmation(AskedFlip { service, .. })
            | Action::MissConfirmation(service)
            | Action::ForgetFlip(service) => tracing::info_span!("shares", %service),
            Action::Start(id)
            | Action::Fetch(id)
            | Action::Fail(id)
            | Action::Empty(id)
            | Action::Drain(id)
            | Action::Kill(id)
            | Action::Forget(id) => self.span_of(id),
        }
    }

    pub(super) fn span_of(&self, id: &InstanceId) -> tracing::Span {
        match self.instances.get(id) {
            Some(instance) => super::span(id, instance.service()),
            None => tracing::info_span!("instance", instance = %id),
        }
    }

    /// After an action that failed: what could not be written down, or has no state to wait in, is tried again after a
    /// pause; a start that failed is a failure of the instance.
    pub(super) fn hold_back(&mut self, action: &Action, error: &(dyn Error + Send + Sync + 'static)) {
        let gates = error.downcast_ref::<GatesError>();
        let unwritten = super::unwritten::is_that(error);
        if unwritten {
            self.tell_what_waits(action, &handover_model::chain(error));
        }
        match action {
            Action::Start(id) if matches!(gates, Some(GatesError::Taken { .. })) => {
                self.give_up(id, handover_model::chain(error));
            }
            Action::Start(id) if !unwritten => self.failed(id, handover_model::chain(error), true),
            Action::SetShares(..)
            | Action::AskConfirmation(_)
            | Action::MissConfirmation(_)
            | Action::ForgetFlip(_)
            | Action::Start(_)
            | Action::Fetch(_)
            | Action::Fail(_)
            | Action::Empty(_)
            | Action::Drain(_)
            | Action::Kill(_)
            | Action::Forget(_) => self.hold(action),
        }
    }

    /// Lets an action wait for a while.
    pub(super) fn hold(&mut self, action: &Action) {
        self.held.insert(super::held(action), now() + self.pause_of_held());
    }

    pub(super) fn hold_instance(&mut self, id: &InstanceId) {
        self.held.insert(Held::Instance(id.clone()), now() + self.pause_of_held());
    }

    /// Whether an action waits after a failure. Behind a flip that failed nothing is taken out.
    pub(super) fn is_held(&self, action: &Action) -> bool {
        let held = super::held(action);
        let service = match &held {
            Held::Service(_) => None,
            Held::Instance(id) => self.instances.get(id).map(|i| Held::Service(i.service().clone())),
        };
        // What happened by itself is noted whatever else waits.
        if matches!(action, Action::MissConfirmation(_) | Action::ForgetFlip(_)) {
            return false;
        }
        let brings_up = matches!(action, Action::Fetch(_) | Action::Start(_));
        let waits = |held: &Held| self.held.get(held).is_some_and(|until| *until > now());
        waits(&held) || (!brings_up && service.is_some_and(|service| waits(&service)))
    }

    /// Lets a running instance do something else, once that is written down.
    fn turn(&mut self, id: &InstanceId, next: Run) -> Result<(), NotWritten> {
        let Some(Instance { state: State::Running { run, .. }, .. }) = self.instances.get_mut(id) else {
            return Ok(());
        };
        let before = std::mem::replace(run, next);
        let written = self.write_down(id);
        if let Some(instance) = self.instances.get_mut(id) {
            match (&written, &mut instance.state) {
                (Ok(()), _) => instance.entered = now(),
                (Err(_), State::Running { run, .. }) => *run = before,
                (Err(_), _) => {}
            }
        }
        written
    }

    /// A life that failed while its process runs: killed, then tried again.
    fn fail(&mut self, id: &InstanceId) -> Outcome {
        let Some(instance) = self.instances.get(id) else { return Ok(()) };
        let State::Running { run, group, .. } = &instance.state else { return Ok(()) };
        let reason = match run {
            Run::Unhealthy { reason, .. } => format!("not alive any more: {reason}"),
            Run::Starting { since, deadline, .. } if instance.waits.is_empty() => {
                format!("not ready within {:?}", deadline.since(*since))
            }
            Run::Starting { since, deadline, .. } => {
                format!("not ready within {:?}: {}", deadline.since(*since), instance.waits)
            }
            Run::Ready { .. } | Run::Emptying { .. } | Run::Draining { .. } | Run::Stopping { .. } => {
                return Ok(());
            }
        };
        let group = group.clone();
        self.turn(id, Run::Stopping { since: now(), then: Then::Restart { reason } })?;
        self.end(id, group);
        Ok(())
    }

    fn set_shares(&mut self, service: &ServiceName, shares: &BTreeMap<InstanceId, Share>) -> Outcome {
        let decided = nanos();
        let took = self.gates.set_shares(service, shares, Instant::now())?;
        self.metrics.flipped(service, took);
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = decided.saturating_add(took);
        self.flips.made(service, at);
        for (id, share) in shares {
            let Some(instance) = self.instances.get_mut(id) else { continue };
            if instance.share != *share {
                let _within = super::span(id, service).entered();
                tracing::info!(instance = %id, from = %instance.share, to = %share, micros = took / 1000, at_nanos = at, "flip");
                instance.share = *share;
                instance.had_share |= !share.is_hidden();
                instance.flip_nanos = Some(took);
            }
        }
        for id in shares.keys() {
            self.write_down(id)?;
        }
        Ok(())
    }

    fn empty(&mut self, id: &InstanceId) -> Outcome {
        let Some(instance) = self.instances.get(id) else { return Ok(()) };
        let watch = self.gates.watch(instance.service(), id)?;
        let drain = instance.manifest.as_ref().map(|manifest| manifest.drain).unwrap_or_default();
        self.turn(id, Run::Emptying { since: now(), deadline: now() + drain.queue_deadline })?;
        let Some(instance) = self.instances.get_mut(id) else { return Ok(()) };
        instance.queues = Some(watch);
        instance.queues_empty = false;
        // It is on its way out: neither its readiness nor its liveness is asked for any more.
        instance.end_probes();
        Ok(())
    }

    fn drain(&mut self, id: &InstanceId) -> Outcome {
        let connections = self.count(id);
        let Some(instance) = self.instances.get(id) else { return Ok(()) };
        let drain = instance.manifest.as_ref().map(|manifest| manifest.drain).unwrap_or_default();
        let State::Running { run: Run::Emptying { since, .. }, .. } = &instance.state else { return Ok(()) };
        let ledger = DrainLedger {
            connections: connections.unwrap_or(0),
            queues_millis: millis(now().since(*since)),
            ..DrainLedger::default()
        };
        let deadline = now() + drain.deadline;
        self.turn(id, Run::Draining { since: now(), deadline, ledger, signalled: false })?;
        if let Some(instance) = self.instances.get_mut(id) {
            instance.queues = None;
            instance.connections = connections;
        }
        self.tell_to_drain(id)
    }

    /// The drain signal, to an instance that is written down as draining.
    pub(super) fn tell_to_drain(&mut self, id: &InstanceId) -> Outcome {
        let Some(instance) = self.instances.get_mut(id) else { return Ok(()) };
        let drain = instance.manifest.as_ref().map(|manifest| manifest.drain).unwrap_or_default();
        let State::Running { process, run: Run::Draining { signalled, .. }, .. } = &mut instance.state else {
            return Ok(());
        };
        signal(id, process, drain.signal.name())?;
        *signalled = true;
        self.note(id);
        Ok(())
    }

    fn kill(&mut self, id: &InstanceId) -> Outcome {
        let connections = self.count(id);
        let Some(instance) = self.instances.get(id) else { return Ok(()) };
        let State::Running { run: Run::Draining { ledger, since, .. }, group, .. } = &instance.state else {
            return Ok(());
        };
        let ledger = DrainLedger { force_closed: connections.unwrap_or(0), killed: true, ..*ledger };
        let (group, then) = (group.clone(), Then::Gone { ledger, drained_from: *since });
        self.turn(id, Run::Stopping { since: now(), then })?;
        tracing::warn!(instance = %id, force_closed = ledger.force_closed, "killed at its drain deadline");
        self.end(id, group);
        Ok(())
    }

    fn forget(&mut self, id: &InstanceId) -> Outcome {
        let Some(instance) = self.instances.get(id) else { return Ok(()) };
        let service = instance.service().clone();
        let left = self.gates.retire(&service, id)?;
        self.journal.forget_instance(id)?;
        let Some(instance) = self.instances.remove(id) else { return Ok(()) };
        let mut report = instance.report();
        if let Some(ledger) = &mut report.ledger {
            ledger.reset += left;
        }
        let ledger = report.ledger.unwrap_or_default();
        self.metrics.cut(&service, ledger.force_closed, ledger.reset);
        report.share = Share::HIDDEN;
        report.phase = handover_model::InstancePhase::Exited;
        tracing::info!(instance = %id, "gone");
        self.departed.push_back((id.clone(), report));
        while self.departed.len() > super::DEPARTED {
            self.departed.pop_front();
        }
        self.prune();
        Ok(())
    }

    /// The releases that the target or an instance needs, told to those who remove others.
    pub(super) fn tell_needed(&self) {
        let targets = self.target.iter().flat_map(|target| target.services.values());
        let wanted =
            targets.flat_map(|service| &service.instances).map(|wanted| wanted.release.bundle.digest);
        let running = self.instances.values().map(|instance| instance.release.bundle.digest);
        let kept = self.target.iter().flat_map(|target| target.keep.iter().copied());
        let migrated = self.target.iter().flat_map(|target| target.migrations.values());
        let migrated = migrated.map(|migration| migration.release.bundle.digest);
        self.bundles.need(wanted.chain(running).chain(kept).chain(migrated).collect::<BTreeSet<_>>());
    }

    /// Removes releases that nothing needs.
    pub(super) fn prune(&self) {
        self.tell_needed();
        let bundles = self.bundles.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = bundles.prune() {
                tracing::warn!(error = &error as &dyn Error, "old releases cannot be removed");
            }
        });
    }

    /// A life that was ended on purpose, and what became of its connections.
    pub(super) fn left(&mut self, id: &InstanceId, ledger: DrainLedger) {
        self.lives += 1;
        let Some(instance) = self.instances.get_mut(id) else { return };
        instance.renew(self.lives);
        instance.enter(State::Exited(Exited { at: now(), ledger }));
        self.note(id);
    }

    /// Kills all processes of this life, and of no later one; that they are gone is seen at the main one's end.
    pub(super) fn end(&mut self, id: &InstanceId, group: Group) {
        self.begin(id, |_| async move {
            if let Err(error) = group.kill(KILL_WAIT).await {
                tracing::error!(%group, error = &error as &dyn Error, "cannot be killed");
            }
        });
    }

    /// Begins what watches a running instance: its end, its readiness or liveness.
    pub(super) fn watch_over(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get(id) else { return };
        let State::Running { process, group, run } = &instance.state else { return };
        let (main, group, run) = (process.clone(), group.clone(), run.clone());
        let all = group.clone();
        self.begin(id, |reporter| async move {
            let status = main.exited().await;
            ended(&reporter, &all, status).await;
        });
        probing::notifications(self, id, &group);
        match run {
            Run::Starting { .. } => probing::readiness(self, id),
            Run::Ready { .. } => probing::liveness(self, id),
            Run::Stopping { .. } => self.end(id, group),
            Run::Unhealthy { .. } | Run::Emptying { .. } | Run::Draining { .. } => {}
        }
    }
}

/// The main process is gone: what it left behind goes too, then the instance is gone.
async fn ended(reporter: &Reporter, group: &Group, status: ExitStatus) {
    if let Err(error) = group.kill(KILL_WAIT).await {
        tracing::error!(group = %group, error = &error as &dyn Error, "processes are left");
    }
    if let Err(error) = group.remove() {
        tracing::debug!(group = %group, error = &error as &dyn Error, "its group cannot be removed yet");
    }
    reporter.tell(super::Event::Exited(status)).await;
}

fn signal(id: &InstanceId, process: &Process, name: &str) -> Outcome {
    let signal: Signal = name.parse()?;
    if !process.signal(signal)? {
        tracing::debug!(instance = %id, "had ended before its drain signal");
    }
    Ok(())
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Instance {
    /// Begins another life: what was begun for the one before is ended, and what it still says is not heard.
    pub(super) fn renew(&mut self, life: u64) {
        self.life = life;
        self.tasks = super::Tasks::default();
        self.probes = super::Tasks::default();
        self.queues = None;
        self.queues_empty = false;
        self.connections = None;
        self.notify = None;
        self.held_up = false;
        self.verifying = false;
        self.unready_probes = None;
        self.taken_over = false;
        self.waits.clear();
    }

    fn end_probes(&mut self) {
        self.probes = super::Tasks::default();
    }

    /// After having been ready for long the attempts are counted anew.
    pub(super) fn forgive(&mut self, ready_since: Timestamp) {
        let stable = self.manifest.as_ref().map(|manifest| manifest.restart.stable).unwrap_or_default();
        if now().since(ready_since) >= stable {
            self.failures = 0;
        }
    }
}
