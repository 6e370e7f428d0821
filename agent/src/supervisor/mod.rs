//! The loop around `reconcile`: it takes in what happens, asks what to do next, and does it.
//!
//! One task owns everything. What takes time (fetching, launching, probing, waiting for an end) runs in tasks of its
//! own that send an [`Event`] back; an event of a task that was begun for an earlier life of an instance is dropped.
//! Each action is written down before and after: whatever moment the agent is killed in, the next start goes on.

mod actions;
mod adopt;
mod counting;
mod events;
mod flips;
mod instance;
mod measured;
mod probing;
mod rotating;
mod serving;
mod starting;
mod unwritten;
mod verifying;

pub(crate) use handover_model::chain;
use instance::Instance;
pub use probing::Way;
pub(crate) use starting::{cgroup_limits, spec};

use crate::{
    bundles::{Bundles, FetchError},
    clock::{TimeOfDay, now},
    commands::Question,
    config::AgentConfig,
    gates::Gates,
    instance::{Containment, ExitStatus, LaunchError, Launcher, Prepared, Running},
    journal::{Journal, NotWritten},
    measuring::Roster,
    metrics::Metrics,
    migrating,
    reconcile::{Action, Observed, ObservedInstance, next_deadline, reconcile},
    session::{Offer, Word},
};
use handover_daemon::Heart;
use handover_model::{
    HostReport, InstanceId, InstanceReport, ServiceName, Target, Timestamp, config::ListenerName,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    error::Error,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{Instant, sleep_until},
};
use tracing::{Instrument as _, Span};

/// Events under way at most: an instance has a few tasks, each of which sends few.
const EVENTS: usize = 1024;
/// How often the queues of an instance that is taken out are looked at.
const QUEUE_STEP: Duration = Duration::from_millis(2);
/// How often the connections of draining instances are counted, logs rotated. Live ones are counted every other time.
const COUNT_STEP: Duration = Duration::from_secs(1);
/// At most so long after a deadline that could not be kept at once it is looked at again.
const LATE_STEP: Duration = Duration::from_millis(20);
/// Rounds of actions in a row without anything having happened outside: more than any change of a host needs.
const ROUNDS: usize = 64;
/// Instances that ended a short while ago and still stand in the report.
const DEPARTED: usize = 16;

/// What happened to an instance, told by a task that was begun for it.
#[derive(Debug)]
pub(crate) enum Event {
    /// Its bundle is here, or will not come.
    Fetched(Result<PathBuf, FetchError>),
    /// Its process is made and waits for the word.
    Prepared(Result<Prepared, LaunchError>),
    /// Its program runs.
    Launched(Result<Running, LaunchError>),
    /// All of its processes are gone.
    Exited(ExitStatus),
    /// A readiness probe failed: what it waits for.
    NotYet(String),
    /// Its readiness holds.
    Ready {
        /// Probes before that were not answered well; `None` where it was not asked, or not from its start on.
        unready_probes: Option<u32>,
    },
    /// When it was ready it accepted nothing on these listeners.
    Unserved(Vec<ListenerName>),
    /// All commands that it must pass ended well, or one did not: why.
    Verified(Result<(), String>),
    /// Its liveness failed as often as it may.
    Unhealthy(String),
    /// It says of itself what it does.
    Status(String),
}

/// Tasks that are ended when they are dropped.
#[derive(Debug, Default)]
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// The agent's heart.
#[derive(Debug)]
pub struct Supervisor {
    config: Arc<AgentConfig>,
    journal: Journal,
    gates: Gates,
    containment: Arc<Containment>,
    launcher: Launcher,
    bundles: Bundles,
    boot_id: String,
    target: Option<Target>,
    instances: BTreeMap<InstanceId, Instance>,
    departed: VecDeque<(InstanceId, InstanceReport)>,
    reports: watch::Sender<HostReport>,
    /// Who is measured; the newest counts.
    roster: watch::Sender<Roster>,
    events: mpsc::Sender<(InstanceId, u64, Event)>,
    happened: mpsc::Receiver<(InstanceId, u64, Event)>,
    lives: u64,
    /// Whose actions wait after a failure that no instance's state tells of, and until when.
    held: BTreeMap<Held, Timestamp>,
    /// Instances that are further than what is written down of them.
    unnoted: BTreeSet<InstanceId>,
    /// A target that could not be written down.
    put_off: Option<unwritten::PutOff>,
    flips: flips::Flips,
    time_of_day: TimeOfDay,
    migrations: migrating::Ends,
    counting: counting::Counting,
    rotating: rotating::Rotating,
    metrics: Arc<Metrics>,
}

/// Whose actions wait after a failure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    /// All that could take out an instance of it: a flip failed.
    Service(ServiceName),
    /// Those for one instance.
    Instance(InstanceId),
}

/// Who has to wait where an action failed.
fn held(action: &Action) -> Held {
    match action {
        Action::SetShares(service, _) | Action::MissConfirmation(service) | Action::ForgetFlip(service) => {
            Held::Service(service.clone())
        }
        Action::AskConfirmation(flip) => Held::Service(flip.service.clone()),
        Action::Fetch(id)
        | Action::Start(id)
        | Action::Fail(id)
        | Action::Empty(id)
        | Action::Drain(id)
        | Action::Kill(id)
        | Action::Forget(id) => Held::Instance(id.clone()),
    }
}

impl Supervisor {
    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// What keeps the processes of instances together on this host.
    #[must_use]
    pub fn containment(&self) -> &Containment {
        &self.containment
    }

    /// Runs until `words` is closed: what runs on the host then stays. Each turn, at least one a second, is a beat of
    /// `heart`.
    pub async fn run(
        mut self,
        mut words: mpsc::Receiver<Word>,
        mut questions: mpsc::Receiver<Question>,
        heart: Heart,
    ) {
        let mut count = tokio::time::interval(COUNT_STEP);
        count.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.settle();
            self.publish();
            heart.beat();
            let wake = self.wake();
            tokio::select! {
                word = words.recv() => match word {
                    Some(Word::Target(offer)) => self.consider(offer),
                    Some(Word::Confirmed { service, revision }) => self.confirmed(&service, revision),
                    None => return self.migrations.close().await,
                },
                Some(question) = questions.recv() => self.lead(question),
                // Told with the next turn, which comes at once.
                Ok(()) = self.migrations.told.changed() => {}
                Some((instance, life, event)) = self.happened.recv() => self.take(&instance, life, event),
                _ = count.tick() => self.look_after(),
                () = sleep_until(wake) => self.look_at_queues(),
            }
        }
    }

    /// Does what there is to do, until there is nothing left for now.
    fn settle(&mut self) {
        let Some(target) = self.target.clone() else { return };
        self.held.retain(|_, until| *until > now());
        for round in 1..=ROUNDS {
            let mut actions = reconcile(&target, &self.observed(), now());
            actions.retain(|action| !self.is_held(action));
            if actions.is_empty() {
                return;
            }
            for action in actions {
                // What comes behind a flip that failed must not happen.
                if self.is_held(&action) {
                    continue;
                }
                if let Err(error) = self.act(&action) {
                    // That something cannot be written down is told once, and not by each action that waits for it.
                    if unwritten::is_that(error.as_ref()) {
                        tracing::debug!(?action, error = error.as_ref() as &dyn Error, "waits");
                    } else {
                        tracing::error!(?action, error = error.as_ref() as &dyn Error, "failed");
                    }
                    self.hold_back(&action, error.as_ref());
                } else if round == ROUNDS {
                    // Each round should change a state for good. A mistake of ours must not take a processor.
                    tracing::error!(?action, "is ordered again and again; it waits");
                    self.hold(&action);
                }
            }
        }
    }

    fn observed(&self) -> Observed {
        let mut observed = Observed { flips: self.flips.asked.clone(), ..Observed::default() };
        for (id, instance) in &self.instances {
            let service: &mut BTreeMap<InstanceId, ObservedInstance> =
                observed.services.entry(instance.service().clone()).or_default();
            service.insert(id.clone(), instance.state.observed(instance.share, instance.queues_empty));
        }
        observed
    }

    /// When to look again although nothing happened.
    fn wake(&self) -> Instant {
        let watching =
            self.instances.values().any(|instance| instance.queues.is_some() && !instance.queues_empty);
        let now = now();
        let held = self.held.values().copied();
        let next = next_deadline(&self.observed()).into_iter().chain(held).min();
        let wait = match next {
            None => Duration::from_secs(60),
            Some(at) if at > now => at.since(now),
            Some(_) => LATE_STEP,
        };
        Instant::now() + if watching { wait.min(QUEUE_STEP) } else { wait }
    }

    fn look_at_queues(&mut self) {
        for (id, instance) in &mut self.instances {
            let Some(watch) = instance.queues.as_mut().filter(|_| !instance.queues_empty) else { continue };
            match self.gates.empty(watch, id) {
                Ok(empty) => instance.queues_empty = empty,
                Err(error) => {
                    tracing::warn!(instance = %id, error = &error as &dyn Error, "its queues cannot be seen: their deadline is waited for");
                    instance.queues = None;
                }
            }
        }
    }

    /// A target: refused where it makes no sense, written down before anything is done for it.
    fn consider(&mut self, offer: Offer) {
        let Offer { target, refused } = offer;
        let revision = target.revision;
        if let Err(reason) = self.accept(target) {
            tracing::warn!(revision, reason, "target refused");
            // Without waiting: the session may wait for this task. One that is gone does not need the answer, and in
            // one that has had four others the server knows already.
            let _ = refused.try_send((revision, reason));
        }
    }

    fn accept(&mut self, target: Target) -> Result<(), String> {
        target.check().map_err(|error| error.to_string())?;
        if target.host.name != self.config.name {
            return Err(format!("the target is for host {}, this is {}", target.host.name, self.config.name));
        }
        self.releases_stay(&target)?;
        match &self.target {
            Some(held) if target.revision < held.revision => {
                return Err(format!(
                    "revision {} is older than revision {} that this host works on; was the server restored from a backup?",
                    target.revision, held.revision
                ));
            }
            Some(held) if target == *held => {
                // The one that was put off came before it.
                self.put_off = None;
                return Ok(());
            }
            Some(held) if target.revision == held.revision => {
                // What to keep is a hint and no order.
                let same = Target { keep: held.keep.clone(), ..target.clone() } == *held;
                if !same {
                    return Err(format!("revision {} is another one than before", target.revision));
                }
            }
            Some(_) | None => {}
        }
        if let Err(error) = self.journal.target(&target) {
            let why = chain(&error);
            self.put_off(target, &why);
            return Err(why);
        }
        tracing::info!(revision = target.revision, "target");
        self.put_off = None;
        self.target = Some(target);
        self.tell_needed();
        self.tell_wanted();
        self.resolve_missing();
        Ok(())
    }

    /// An instance is one run of one release: what runs does not become another one by being called so.
    fn releases_stay(&self, target: &Target) -> Result<(), String> {
        let wanted = target.services.values().flat_map(|service| &service.instances);
        for (wanted, running) in wanted.filter_map(|w| Some((w, self.instances.get(&w.instance)?))) {
            if wanted.release != running.release {
                return Err(format!(
                    "instance {} is {} with bundle {} on this host, and the target wants it to be {} with bundle {}; another release needs another instance",
                    wanted.instance,
                    running.release.name,
                    running.release.bundle.digest.short(),
                    wanted.release.name,
                    wanted.release.bundle.digest.short()
                ));
            }
        }
        Ok(())
    }

    /// Manifests that could not be understood without a target.
    fn resolve_missing(&mut self) {
        let missing = self.instances.iter().filter(|(_, instance)| instance.manifest.is_none());
        let releases: Vec<_> = missing.map(|(id, i)| (id.clone(), i.release.clone())).collect();
        for (id, release) in releases {
            let manifest = self.resolve(&release).ok();
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.manifest = manifest;
            }
        }
    }

    /// Tells whoever migrates what the target wants.
    fn tell_wanted(&self) {
        let of = |target: &Target| migrating::Wanted {
            host: Some(target.host.clone()),
            migrations: target.migrations.clone(),
        };
        let wanted = self.target.as_ref().map(of).unwrap_or_default();
        self.migrations.wanted.send_if_modified(|told| {
            let changed = *told != wanted;
            if changed {
                *told = wanted;
            }
            changed
        });
    }

    /// Tells the session what runs, where that has changed.
    fn publish(&self) {
        self.tell_measured();
        let report = self.report();
        self.reports.send_if_modified(|told| {
            let changed = *told != report;
            if changed {
                *told = report;
            }
            changed
        });
    }

    fn report(&self) -> HostReport {
        let revision = self.target.as_ref().map_or(0, |target| target.revision);
        let mut instances: BTreeMap<InstanceId, InstanceReport> = self.departed.iter().cloned().collect();
        for (id, instance) in &self.instances {
            instances.insert(id.clone(), instance.report());
        }
        for (id, report) in self.put_off_instances() {
            instances.entry(id).or_insert(report);
        }
        let instances = instances.into_iter().map(|(id, report)| (id, self.time_of_day.of(report))).collect();
        HostReport {
            revision,
            instances,
            flips: self.flip_reports(),
            readings: None,
            migrations: self.migrations.told.borrow().clone(),
        }
    }

    /// Writes down where an instance is.
    fn write_down(&self, id: &InstanceId) -> Result<(), NotWritten> {
        match self.instances.get(id) {
            Some(instance) => self.journal.instance(&instance.record(id, &self.boot_id)),
            None => self.journal.forget_instance(id),
        }
    }

    /// Runs a task for an instance's present life.
    fn begin<F>(&mut self, id: &InstanceId, task: impl FnOnce(Reporter) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(instance) = self.instances.get_mut(id) {
            let reporter =
                Reporter { instance: id.clone(), life: instance.life, events: self.events.clone() };
            let task = task(reporter).instrument(span(id, instance.service()));
            instance.tasks.0.push(tokio::spawn(task).abort_handle());
        }
    }
}

/// What every line about an instance carries; its host stands in the span around all.
fn span(id: &InstanceId, service: &ServiceName) -> Span {
    let deployment = id.deployment().map(tracing::field::display);
    tracing::info_span!("instance", deployment, %service, instance = %id)
}

/// What a task tells the supervisor with.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    instance: InstanceId,
    life: u64,
    events: mpsc::Sender<(InstanceId, u64, Event)>,
}

impl Reporter {
    /// Tells what happened. A supervisor that is gone does not need to know.
    pub(crate) async fn tell(&self, event: Event) {
        let _ = self.events.send((self.instance.clone(), self.life, event)).await;
    }
}
