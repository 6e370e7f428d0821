//! The agent's start: what runs already is taken over. No instance is started again, no connection breaks.

use super::{EVENTS, Instance, Supervisor, actions::millis};
use crate::{
    bundles::Bundles,
    clock::{TimeOfDay, now},
    config::AgentConfig,
    disks::Disks,
    gates::Gates,
    instance::{Containment, Group, Launcher, Process, notify::NotifySocket, process},
    journal::{GateRecord, Journal, Journaled, Unreadable},
    migrating::Migrating,
    state::{BackingOff, Exited, InstanceRecord, Life, Run, State, Then},
};
use handover_model::{DrainLedger, HostReport, InstanceId, Share, Timestamp, config::ReadinessCheck};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    error::Error,
    ffi::OsStr,
    io,
    sync::Arc,
};
use tokio::sync::{mpsc, watch};
use tracing::Instrument as _;

/// How long left-over processes of an instance that nobody knows may take to be gone.
const KILL_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

impl Supervisor {
    /// Reads the journal, takes over what it says, and does what there is to do at once.
    ///
    /// # Errors
    /// When the journal's folder, /proc or a process that runs cannot be looked at. Nothing was touched then.
    pub async fn adopt(
        config: Arc<AgentConfig>,
        disks: Disks,
        bundles: Bundles,
        reports: watch::Sender<HostReport>,
    ) -> io::Result<Self> {
        let journal = Journal::new(config.journal(), disks);
        let Journaled { target, instances, gates, flips, unreadable } = journal.read()?;
        for file in &unreadable {
            tracing::error!(error = file as &dyn Error, "the journal is damaged");
        }
        let migrates = kernel_settings();
        let containment = Containment::detect(&format!("handover-{}", config.name));
        tracing::info!(%containment, migrates, "this host");
        let (events, happened) = mpsc::channel(EVENTS);
        let mut time_of_day = TimeOfDay::default();
        time_of_day.follow();
        let (containment, launcher) = (Arc::new(containment), Launcher::of_this_agent());
        let migrations = Migrating::begin(
            Arc::clone(&config),
            bundles.clone(),
            Arc::clone(&containment),
            launcher.clone(),
        );
        let boot_id = process::boot_id()?;
        let mut supervisor = Self {
            migrations,
            flips: super::flips::Flips::adopted(flips, &boot_id),
            gates: Gates::new(journal.clone()),
            containment,
            launcher,
            bundles,
            boot_id,
            target,
            instances: BTreeMap::new(),
            departed: VecDeque::new(),
            reports,
            roster: watch::Sender::default(),
            events,
            happened,
            lives: 0,
            held: BTreeMap::new(),
            unnoted: BTreeSet::new(),
            put_off: None,
            time_of_day,
            counting: super::counting::Counting::default(),
            rotating: super::rotating::Rotating::default(),
            metrics: Arc::default(),
            config,
            journal,
        };
        supervisor.note_flips();
        supervisor.tell_needed();
        let mut failed = Vec::new();
        for record in instances {
            let span = super::span(&record.instance, &record.release.name.service);
            failed.extend(supervisor.take_over(record).instrument(span).await?);
        }
        supervisor.clear_strangers(&unreadable).await;
        // Not before: a program that migrates is no instance.
        supervisor.tell_wanted();
        supervisor.take_over_gates(gates);
        for (id, reason) in failed {
            supervisor.span_of(&id).in_scope(|| supervisor.failed(&id, reason, true));
        }
        let ids: Vec<InstanceId> = supervisor.instances.keys().cloned().collect();
        for id in &ids {
            supervisor.span_of(id).in_scope(|| supervisor.go_on(id));
        }
        supervisor.settle();
        supervisor.publish();
        Ok(supervisor)
    }

    /// One instance of the journal. Gives the reason where it failed while no agent looked.
    async fn take_over(&mut self, record: InstanceRecord) -> io::Result<Option<(InstanceId, String)>> {
        let id = record.instance.clone();
        self.lives += 1;
        let manifest = self.resolve(&record.release);
        let mut instance = Instance::new(record.release, record.pin, self.lives);
        instance.restarts = record.restarts;
        instance.taken_over = true;
        // Agents before verification wrote no more than the share down.
        instance.had_share = record.had_share || !record.share.is_hidden();
        match manifest {
            Ok(manifest) => instance.manifest = Some(manifest),
            Err(reason) => tracing::error!(instance = %id, reason, "is left as it is"),
        }
        let mut failure = None;
        if record.boot_id == self.boot_id {
            instance.share = record.share;
            instance.failures = record.failures;
            match found(&id, record.life).await? {
                Found::As(state) => instance.state = state,
                Found::Failed { reason, ready_since } => {
                    instance.state = State::Fetched;
                    if let Some(since) = ready_since {
                        instance.forgive(since);
                    }
                    failure = Some((id.clone(), reason));
                }
            }
        } else {
            // Nothing of before the reboot is left, and what failed then is worth another attempt.
            instance.state = after_reboot(record.life);
        }
        let report = instance.report();
        tracing::info!(instance = %id, phase = ?report.phase, pid = report.pid, share = %instance.share, failure = failure.as_ref().map(|(_, reason)| reason.as_str()), "taken over");
        self.instances.insert(id, instance);
        Ok(failure)
    }

    /// Gates come after the instances, out of which their sockets are taken. What the kernel gives an instance is what
    /// counts: a socket that only the earlier agent held is gone, with its share.
    fn take_over_gates(&mut self, gates: Vec<GateRecord>) {
        let instances = &self.instances;
        let socket = |id: &InstanceId, inode| {
            let group = instances.get(id)?.state.group()?;
            let taken = group.take_socket(inode).inspect_err(|error| {
                // Mostly a container that forbids pidfd_getfd(2). It goes on, with less to hold it up by.
                tracing::warn!(instance = %id, error = error as &dyn Error, "its listening socket cannot be taken out of it: its queues are not seen, and a crash of it refuses clients");
            });
            taken.ok().flatten()
        };
        self.gates.restore(gates, socket);
        let mut changed = Vec::new();
        for (id, instance) in &mut self.instances {
            let _within = super::span(id, &instance.release.name.service).entered();
            let listens = instance.manifest.as_ref().is_none_or(|manifest| !manifest.listeners.is_empty());
            let in_kernel = self.gates.share(&instance.release.name.service, id);
            let share = match in_kernel {
                Some(share) => share,
                None if listens => Share::HIDDEN,
                None => instance.share,
            };
            if share != instance.share {
                tracing::info!(instance = %id, from = %instance.share, to = %share, "its share, as the kernel has it");
                instance.share = share;
                changed.push(id.clone());
            }
        }
        changed.iter().for_each(|id| self.note(id));
    }

    /// Ends what runs in groups of this agent's without being known to: a launcher between its making and the word to
    /// go. An instance whose record was damaged is no stranger: it goes on, and operators were told.
    async fn clear_strangers(&self, unreadable: &[Unreadable]) {
        let running = |name: &str| {
            self.instances.iter().any(|(i, instance)| i.as_str() == name && instance.state.group().is_some())
        };
        let damaged =
            |name: &str| unreadable.iter().any(|file| file.path.file_stem() == Some(OsStr::new(name)));
        for name in self.containment.instances().unwrap_or_default() {
            if !running(&name)
                && !damaged(&name)
                && let Some(group) = self.containment.leftover(&name)
            {
                end_rest(&group).await;
            }
        }
    }

    /// Goes on with what an instance was doing.
    fn go_on(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        match &instance.state {
            State::Fetching => self.bring(id),
            State::Running { .. } => self.go_on_running(id),
            State::Fetched
            | State::BackingOff(_)
            | State::GaveUp { .. }
            | State::Launching
            | State::Exited(_) => {}
        }
    }

    fn go_on_running(&mut self, id: &InstanceId) {
        let runtime = self.config.runtime.clone();
        let Some(instance) = self.instances.get_mut(id) else { return };
        let notify = instance.manifest.as_ref().is_some_and(|m| m.readiness.check == ReadinessCheck::Notify);
        let deaf = instance.manifest.as_ref().is_some_and(|manifest| {
            !self.gates.leads_to(&instance.release.name.service, &manifest.listeners, id)
        });
        let State::Running { run, .. } = &mut instance.state else { return };
        if deaf && matches!(run, Run::Starting { .. } | Run::Ready { .. } | Run::Unhealthy { .. }) {
            // A launcher that was waiting for its word, or a program that closed its sockets: no client can reach it.
            let reason = "its listening sockets were gone when the agent came back".to_owned();
            let anew = matches!(run, Run::Starting { executed: false, .. });
            let then = if anew { Then::Anew { reason } } else { Then::Restart { reason } };
            *run = Run::Stopping { since: now(), then };
        }
        if notify {
            match NotifySocket::open(&runtime, id.as_str()) {
                Ok(socket) => instance.notify = Some(Arc::new(socket)),
                Err(error) => {
                    tracing::error!(instance = %id, error = &error as &dyn Error, "no notify socket");
                }
            }
            if let Run::Starting { .. } = run
                && instance.share.is_hidden()
            {
                // Its READY=1 may have been said to nobody. No client is on it, so it is started again.
                let reason = "the agent was started again while it waited for READY=1".to_owned();
                *run = Run::Stopping { since: now(), then: Then::Anew { reason } };
            }
        }
        match run {
            Run::Emptying { .. } => match self.gates.watch(&instance.release.name.service, id) {
                Ok(watch) => instance.queues = Some(watch),
                Err(error) => tracing::error!(instance = %id, error = &error as &dyn Error, "queues"),
            },
            Run::Draining { signalled: false, .. } => {
                if let Err(error) = self.tell_to_drain(id) {
                    tracing::error!(instance = %id, error = error.as_ref() as &dyn Error, "drain signal");
                }
            }
            Run::Draining { .. }
            | Run::Starting { .. }
            | Run::Ready { .. }
            | Run::Unhealthy { .. }
            | Run::Stopping { .. } => {}
        }
        self.watch_over(id);
    }
}

/// What /proc says of an instance of the journal.
enum Found {
    /// It is so.
    As(State),
    /// It ended by itself while no agent looked.
    Failed {
        /// In an operator's words.
        reason: String,
        /// Since when it had been ready, if it was.
        ready_since: Option<Timestamp>,
    },
}

/// Where an instance of this boot is now.
///
/// # Errors
/// When that cannot be found out: to take a living instance for a dead one would end it.
async fn found(id: &InstanceId, life: Life) -> io::Result<Found> {
    let state = match life {
        Life::Fetching => State::Fetching,
        Life::Fetched => State::Fetched,
        Life::BackingOff(back_off) => State::BackingOff(back_off),
        Life::GaveUp { reason, since } => State::GaveUp { reason, since },
        Life::Exited(exited) => State::Exited(exited),
        Life::Running { process, group, run } => {
            let group = Group::reopen(group)?;
            match Process::adopt(process)? {
                Some(process) => State::Running { process, group, run },
                None => {
                    tracing::info!(instance = %id, "ended while the agent was away");
                    end_rest(&group).await;
                    return Ok(ended(run));
                }
            }
        }
    };
    Ok(Found::As(state))
}

/// What an instance is whose main process ended while no agent looked.
fn ended(run: Run) -> Found {
    let gone = |ledger| Found::As(State::Exited(Exited { at: now(), ledger }));
    let failed = |reason, ready_since| Found::Failed { reason, ready_since };
    match run {
        Run::Starting { executed: false, .. } | Run::Stopping { then: Then::Anew { .. }, .. } => {
            Found::As(State::Fetched)
        }
        Run::Starting { .. } => failed("it ended before it was ready, while the agent was away".into(), None),
        Run::Ready { since, .. } => failed("it ended while the agent was away".into(), Some(since)),
        Run::Unhealthy { reason, .. } | Run::Stopping { then: Then::Restart { reason }, .. } => {
            failed(reason, None)
        }
        Run::Stopping { then: Then::GiveUp { reason }, .. } => {
            Found::As(State::GaveUp { reason, since: now() })
        }
        Run::Emptying { .. } => gone(DrainLedger::default()),
        Run::Draining { since, ledger, .. } => {
            gone(DrainLedger { drain_millis: millis(now().since(since)), ..ledger })
        }
        Run::Stopping { then: Then::Gone { ledger, .. }, .. } => gone(ledger),
    }
}

/// Where an instance of an earlier boot is: its files may be here, and nothing else.
fn after_reboot(life: Life) -> State {
    match life {
        Life::Fetching | Life::BackingOff(BackingOff { fetched: false, .. }) => State::Fetching,
        // Its start looks whether the files are here.
        Life::Fetched | Life::BackingOff(_) | Life::GaveUp { .. } => State::Fetched,
        Life::Running { run, .. } => match run {
            Run::Starting { .. }
            | Run::Ready { .. }
            | Run::Unhealthy { .. }
            | Run::Stopping {
                then: Then::Restart { .. } | Then::Anew { .. } | Then::GiveUp { .. }, ..
            } => State::Fetched,
            Run::Emptying { .. } => State::Exited(Exited { at: now(), ledger: DrainLedger::default() }),
            Run::Draining { ledger, .. } | Run::Stopping { then: Then::Gone { ledger, .. }, .. } => {
                State::Exited(Exited { at: now(), ledger })
            }
        },
        Life::Exited(exited) => State::Exited(Exited { at: now(), ..exited }),
    }
}

/// Settings of the kernel that gates profit from. Whether what a crash leaves in a queue moves to a survivor.
fn kernel_settings() -> bool {
    if let Err(error) = handover_gate::reserve_pin_ports() {
        tracing::warn!(
            error = &error as &dyn Error,
            "the pins' ports cannot be reserved: IPv6 probes may find theirs taken"
        );
    }
    handover_gate::set_tcp_migrate_req().unwrap_or_else(|error| {
        tracing::warn!(
            error = &error as &dyn Error,
            "net.ipv4.tcp_migrate_req cannot be set: what a crash leaves in a queue is reset"
        );
        false
    })
}

/// The main process is gone: what it left behind goes too.
async fn end_rest(group: &Group) {
    if let Err(error) = group.kill(KILL_WAIT).await {
        tracing::error!(%group, error = &error as &dyn Error, "processes are left");
    }
    // Best effort: an empty folder does no harm, and is used again.
    let _ = group.remove();
}
