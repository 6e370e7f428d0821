//! Doing what `reconcile` ordered: each action written down before, or after where the kernel decides the outcome.

use super::{Event, Instance, Reporter, Supervisor, now, probing};
use crate::{
    instance::{
        CgroupLimits, ExitStatus, Group, LaunchSpec, LogSink, Process, ResourceLimits, logs,
        notify::NotifySocket,
    },
    reconcile::Action,
    state::{BackingOff, Exited, Run, State, Then},
};
use handover_gate::Pin;
use handover_model::{
    DrainLedger, InstanceId, Release, ServiceName, Share, Timestamp,
    config::{CoreLimit, HostManifest, LogTarget, Manifest, ReadinessCheck},
};
use nix::sys::signal::Signal;
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long killed processes may take to be gone.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// After a failure that no state tells of (a disk that is full): before it is tried again.
const HOLD: Duration = Duration::from_secs(1);

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

impl Supervisor {
    /// Does one thing.
    pub(super) fn act(&mut self, action: &Action) -> Outcome {
        tracing::debug!(?action);
        match action {
            Action::Fetch(id) => self.fetch(id),
            Action::Start(id) => self.start(id),
            Action::Fail(id) => self.fail(id),
            Action::SetShares(service, shares) => self.set_shares(service, shares),
            Action::Empty(id) => self.empty(id),
            Action::Drain(id) => self.drain(id),
            Action::Kill(id) => self.kill(id),
            Action::Forget(id) => self.forget(id),
        }
    }

    /// After an action that failed: the instance waits, or what concerns its service does.
    pub(super) fn hold_back(&mut self, action: &Action, error: &(dyn Error + Send + Sync + 'static)) {
        let until = now() + HOLD;
        match action {
            Action::Start(id) => self.failed(id, chain(error), true),
            Action::Fetch(id) => self.failed(id, chain(error), false),
            Action::SetShares(service, _) => {
                self.held.insert(service.clone(), until);
            }
            Action::Fail(id)
            | Action::Empty(id)
            | Action::Drain(id)
            | Action::Kill(id)
            | Action::Forget(id) => {
                if let Some(service) = self.instances.get(id).map(|instance| instance.service().clone()) {
                    self.held.insert(service, until);
                }
            }
        }
    }

    /// Whether the service of an action waits after a failure.
    pub(super) fn is_held(&mut self, action: &Action) -> bool {
        let service = match action {
            // They have states of their own to wait in.
            Action::Fetch(_) | Action::Start(_) => return false,
            Action::SetShares(service, _) => Some(service),
            Action::Fail(id)
            | Action::Empty(id)
            | Action::Drain(id)
            | Action::Kill(id)
            | Action::Forget(id) => self.instances.get(id).map(Instance::service),
        };
        let now = now();
        service.and_then(|service| self.held.get(service)).is_some_and(|until| *until > now)
    }

    fn wanted_release(&self, id: &InstanceId) -> Option<Release> {
        let services = self.target.iter().flat_map(|target| target.services.values());
        let mut instances = services.flat_map(|service| &service.instances);
        instances.find(|instance| instance.instance == *id).map(|instance| instance.release.clone())
    }

    fn fetch(&mut self, id: &InstanceId) -> Outcome {
        let Some(release) = self.wanted_release(id) else { return Ok(()) };
        self.lives += 1;
        let life = self.lives;
        if !self.instances.contains_key(id) {
            let taken: BTreeSet<u8> = self.instances.values().map(|instance| instance.pin).collect();
            let pin = self.gates.free_pin(&taken)?.number();
            self.instances.insert(id.clone(), Instance::new(release.clone(), pin, life));
        }
        let manifest = self.resolve(&release);
        let Some(instance) = self.instances.get_mut(id) else { return Ok(()) };
        instance.renew(life);
        match manifest {
            Ok(manifest) => instance.manifest = Some(manifest),
            Err(reason) => {
                instance.enter(State::GaveUp { reason, since: now() });
                return Ok(self.write_down(id)?);
            }
        }
        instance.enter(State::Fetching);
        instance.waits = format!("fetching bundle {}", release.bundle.digest.short());
        self.write_down(id)?;
        let bundles = self.bundles.clone();
        self.begin(id, |reporter| async move {
            reporter.tell(Event::Fetched(bundles.bring(&release.bundle).await)).await;
        });
        Ok(())
    }

    /// The manifest with this host's values in it.
    pub(super) fn resolve(&self, release: &Release) -> Result<HostManifest, String> {
        let target = self.target.as_ref().ok_or("no target was accepted yet")?;
        let manifest = Manifest::parse(&release.manifest).map_err(|error| {
            format!("this agent cannot read the manifest; is it older than the server? {error}")
        })?;
        manifest
            .for_host(&target.host)
            .map_err(|error| format!("the manifest does not fit this host: {error}"))
    }

    fn start(&mut self, id: &InstanceId) -> Outcome {
        self.lives += 1;
        let life = self.lives;
        let config = Arc::clone(&self.config);
        let Some(instance) = self.instances.get_mut(id) else { return Ok(()) };
        let Some(manifest) = instance.manifest.clone() else { return Ok(()) };
        instance.renew(life);
        let service = instance.service().clone();
        let pin = Pin::new(instance.pin)?;
        let release_dir = self.bundles.folder(&instance.release.bundle.digest);

        self.gates.join(&service, &manifest.listeners, id, pin)?;
        let sockets = self.gates.sockets(&service, &manifest.listeners, id)?;
        // A process of an earlier life that is not quite gone would be in the way of the limits.
        let place = self.containment.place(id.as_str(), limits(&manifest))?;
        let notify = match manifest.readiness.check {
            ReadinessCheck::Notify => Some(Arc::new(NotifySocket::open(&config.runtime, id.as_str())?)),
            ReadinessCheck::Alive { .. } | ReadinessCheck::Probe(_) => None,
        };
        let log = log_sink(&manifest, &config.logs, &service, id)?;
        let spec = spec(&manifest, &instance.release, id, &release_dir, notify.as_deref(), log);
        instance.notify = notify;
        instance.enter(State::Launching);
        "its process is being started".clone_into(&mut instance.waits);
        self.write_down(id)?;
        let launcher = self.launcher.clone();
        self.begin(id, |reporter| async move {
            reporter.tell(Event::Prepared(launcher.prepare(&spec, sockets, place).await)).await;
        });
        Ok(())
    }

    /// A life that failed while its process runs: killed, then tried again.
    fn fail(&mut self, id: &InstanceId) -> Outcome {
        let Some(instance) = self.instances.get_mut(id) else { return Ok(()) };
        let waits = instance.waits.clone();
        let State::Running { run, group, .. } = &mut instance.state else { return Ok(()) };
        let reason = match run {
            Run::Unhealthy { reason, .. } => format!("not alive any more: {reason}"),
            Run::Starting { since, deadline } => {
                format!("not ready within {:?}: {waits}", deadline.since(*since))
            }
            Run::Ready { .. } | Run::Emptying { .. } | Run::Draining { .. } | Run::Stopping { .. } => {
                return Ok(());
            }
        };
        *run = Run::Stopping { since: now(), then: Then::Restart { reason } };
        let group = group.clone();
        instance.entered = now();
        self.write_down(id)?;
        kill(id.clone(), group);
        Ok(())
    }

    fn set_shares(&mut self, service: &ServiceName, shares: &BTreeMap<InstanceId, Share>) -> Outcome {
        let decided = Instant::now();
        self.gates.set_shares(service, shares)?;
        let nanos = u64::try_from(decided.elapsed().as_nanos()).unwrap_or(u64::MAX);
        for (id, share) in shares {
            let Some(instance) = self.instances.get_mut(id) else { continue };
            if instance.share != *share {
                tracing::info!(instance = %id, from = %instance.share, to = %share, micros = nanos / 1000, "flip");
                instance.share = *share;
                instance.flip_nanos = Some(nanos);
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
        let wait = instance.manifest.as_ref().map_or(HOLD, |manifest| manifest.drain.queue_deadline);
        let Some(instance) = self.instances.get_mut(id) else { return Ok(()) };
        let State::Running { run, .. } = &mut instance.state else { return Ok(()) };
        *run = Run::Emptying { since: now(), deadline: now() + wait };
        instance.entered = now();
        instance.queues = Some(watch);
        instance.queues_empty = false;
        // It is on its way out: neither its readiness nor its liveness is asked for any more.
        instance.end_probes();
        Ok(self.write_down(id)?)
    }

    fn drain(&mut self, id: &InstanceId) -> Outcome {
        let connections = self.count(id);
        let Some(instance) = self.instances.get_mut(id) else { return Ok(()) };
        let Some(manifest) = &instance.manifest else { return Ok(()) };
        let drain = manifest.drain;
        let State::Running { run, process, .. } = &mut instance.state else { return Ok(()) };
        let Run::Emptying { since, .. } = run else { return Ok(()) };
        let ledger = DrainLedger {
            connections: connections.unwrap_or(0),
            queues_millis: millis(now().since(*since)),
            ..DrainLedger::default()
        };
        *run = Run::Draining { since: now(), deadline: now() + drain.deadline, ledger };
        let process = process.clone();
        instance.entered = now();
        instance.queues = None;
        instance.connections = connections;
        // Before the signal: an agent that dies in between sends it again, which a draining program bears.
        self.write_down(id)?;
        signal(id, &process, drain.signal.name())
    }

    fn kill(&mut self, id: &InstanceId) -> Outcome {
        let connections = self.count(id);
        let Some(instance) = self.instances.get_mut(id) else { return Ok(()) };
        let State::Running { run, group, .. } = &mut instance.state else { return Ok(()) };
        let (ledger, drained_from) = match run {
            Run::Draining { ledger, since, .. } => (*ledger, *since),
            Run::Starting { since, .. } | Run::Ready { since, .. } | Run::Unhealthy { since, .. } => {
                (DrainLedger::default(), *since)
            }
            Run::Emptying { since, .. } => (DrainLedger::default(), *since),
            Run::Stopping { .. } => return Ok(()),
        };
        let ledger = DrainLedger { force_closed: connections.unwrap_or(0), killed: true, ..ledger };
        *run = Run::Stopping { since: now(), then: Then::Gone { ledger, drained_from } };
        let group = group.clone();
        instance.entered = now();
        self.write_down(id)?;
        tracing::warn!(instance = %id, force_closed = ledger.force_closed, "killed at its drain deadline");
        kill(id.clone(), group);
        Ok(())
    }

    fn forget(&mut self, id: &InstanceId) -> Outcome {
        let Some(instance) = self.instances.get(id) else { return Ok(()) };
        let service = instance.service().clone();
        let left = self.gates.retire(&service, id)?;
        let mut report = instance.report();
        if let Some(ledger) = &mut report.ledger {
            ledger.reset += left;
        }
        report.share = Share::HIDDEN;
        report.phase = handover_model::InstancePhase::Exited;
        self.instances.remove(id);
        self.journal.forget_instance(id)?;
        tracing::info!(instance = %id, "gone");
        self.departed.push_back((id.clone(), report));
        while self.departed.len() > super::DEPARTED {
            self.departed.pop_front();
        }
        self.prune();
        Ok(())
    }

    /// Removes releases that nothing needs.
    fn prune(&self) {
        let targets = self.target.iter().flat_map(|target| target.services.values());
        let wanted =
            targets.flat_map(|service| &service.instances).map(|wanted| wanted.release.bundle.digest);
        let running = self.instances.values().map(|instance| instance.release.bundle.digest);
        let kept = self.target.iter().flat_map(|target| target.keep.iter().copied());
        let needed: BTreeSet<_> = wanted.chain(running).chain(kept).collect();
        let bundles = self.bundles.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = bundles.prune(&needed) {
                tracing::warn!(error = &error as &dyn Error, "old releases cannot be removed");
            }
        });
    }

    /// The connections of an instance that the kernel knows; `None` where they cannot be counted.
    pub(super) fn count(&self, id: &InstanceId) -> Option<u64> {
        let instance = self.instances.get(id)?;
        let sockets = instance.state.group()?.sockets().ok()?;
        self.gates.connections(instance.service(), id, &sockets).ok()
    }

    /// A life failed: it is tried again after a pause, or not any more.
    pub(super) fn failed(&mut self, id: &InstanceId, reason: String, fetched: bool) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let restart = instance.manifest.as_ref().map(|manifest| manifest.restart).unwrap_or_default();
        instance.failures = instance.failures.saturating_add(1);
        instance.restarts = instance.restarts.saturating_add(1);
        tracing::warn!(instance = %id, failures = instance.failures, reason, "failed");
        let state = if restart.attempts != 0 && instance.failures >= restart.attempts {
            let reason = format!("gave up after {} attempts; the last one: {reason}", instance.failures);
            State::GaveUp { reason, since: now() }
        } else {
            let pause = pause(restart.initial, restart.max, instance.failures);
            State::BackingOff(BackingOff { until: now() + pause, since: now(), fetched, reason })
        };
        self.lives += 1;
        instance.renew(self.lives);
        instance.enter(state);
        if let Err(error) = self.write_down(id) {
            tracing::error!(instance = %id, error = &error as &dyn Error, "cannot write down");
        }
    }

    /// A life that was ended on purpose, and what became of its connections.
    pub(super) fn left(&mut self, id: &InstanceId, ledger: DrainLedger) {
        self.lives += 1;
        let Some(instance) = self.instances.get_mut(id) else { return };
        instance.renew(self.lives);
        instance.enter(State::Exited(Exited { at: now(), ledger }));
        if let Err(error) = self.write_down(id) {
            tracing::error!(instance = %id, error = &error as &dyn Error, "cannot write down");
        }
    }

    /// Begins what watches a running instance: its end, its readiness or liveness.
    pub(super) fn watch_over(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get(id) else { return };
        let State::Running { process, group, run } = &instance.state else { return };
        let (process, group, run) = (process.clone(), group.clone(), run.clone());
        let ended = process.clone();
        let all = group.clone();
        self.begin(id, |reporter| async move {
            let status = ended.exited().await;
            end(&reporter, &all, status).await;
        });
        match run {
            Run::Starting { .. } => probing::readiness(self, id, &group),
            Run::Ready { .. } => probing::liveness(self, id),
            Run::Stopping { .. } => kill(id.clone(), group),
            Run::Unhealthy { .. } | Run::Emptying { .. } | Run::Draining { .. } => {}
        }
    }
}

/// The main process is gone: what it left behind goes too, then the instance is gone.
async fn end(reporter: &Reporter, group: &Group, status: ExitStatus) {
    if let Err(error) = group.kill(KILL_WAIT).await {
        tracing::error!(group = %group, error = &error as &dyn Error, "processes are left");
    }
    if let Err(error) = group.remove() {
        tracing::debug!(group = %group, error = &error as &dyn Error, "its group cannot be removed yet");
    }
    reporter.tell(Event::Exited(status)).await;
}

/// Kills all processes; that they are gone is seen at the main one's end.
fn kill(id: InstanceId, group: Group) {
    tokio::spawn(async move {
        if let Err(error) = group.kill(KILL_WAIT).await {
            tracing::error!(instance = %id, error = &error as &dyn Error, "cannot be killed");
        }
    });
}

pub(super) fn signal(id: &InstanceId, process: &Process, name: &str) -> Outcome {
    let signal: Signal = name.parse()?;
    if !process.signal(signal)? {
        tracing::debug!(instance = %id, "had ended before its drain signal");
    }
    Ok(())
}

/// What to do with an instance's output.
fn log_sink(
    manifest: &HostManifest,
    folder: &std::path::Path,
    service: &ServiceName,
    id: &InstanceId,
) -> std::io::Result<LogSink> {
    let journald = match manifest.logs.to {
        LogTarget::Journald => true,
        LogTarget::Auto => logs::journald_is_there(),
        LogTarget::Files => false,
    };
    if journald {
        Ok(logs::journald_sink(service.as_str(), id.as_str()))
    } else {
        logs::file_sink(folder, service.as_str(), id.as_str())
    }
}

/// What the launcher needs to know.
pub(super) fn spec(
    manifest: &HostManifest,
    release: &Release,
    id: &InstanceId,
    folder: &std::path::Path,
    notify: Option<&NotifySocket>,
    log: LogSink,
) -> LaunchSpec {
    LaunchSpec {
        service: release.name.service.to_string(),
        release: release.name.version.to_string(),
        instance: id.to_string(),
        release_dir: folder.to_owned(),
        command: manifest.command.clone(),
        working_directory: manifest.working_directory.clone(),
        user: manifest.user.clone(),
        group: manifest.group.clone(),
        environment: manifest.environment.clone(),
        notify_socket: notify.map(|socket| socket.path().to_owned()),
        limits: ResourceLimits {
            open_files: manifest.limits.open_files,
            processes: manifest.limits.processes,
            core: manifest.limits.core.map(|core| match core {
                CoreLimit::Bytes(bytes) => bytes,
                CoreLimit::Unlimited => u64::MAX,
            }),
        },
        log,
    }
}

pub(super) fn limits(manifest: &HostManifest) -> CgroupLimits {
    CgroupLimits {
        memory: manifest.limits.memory,
        cpu: manifest.limits.cpu.map(|cpu| cpu.percent),
        tasks: manifest.limits.tasks,
    }
}

/// The pause before attempt `failures`: it doubles each time up to `max`; up to a quarter is taken off by chance, so
/// that instances that failed together do not come back together.
fn pause(initial: Duration, max: Duration, failures: u32) -> Duration {
    let doubled = initial.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(max);
    doubled.mul_f64(1.0 - 0.25 * rand::random::<f64>())
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An error with everything behind it, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl Instance {
    /// Begins another life: what was begun for the one before is ended, and what it still says is not heard.
    fn renew(&mut self, life: u64) {
        self.life = life;
        self.tasks = super::Tasks::default();
        self.probes = super::Tasks::default();
        self.queues = None;
        self.queues_empty = false;
        self.connections = None;
        self.notify = None;
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
