//! The agent's start: what runs already is taken over. No instance is started again, no connection breaks.

use super::{EVENTS, Instance, Supervisor, Tasks, actions::signal, now};
use crate::{
    bundles::Bundles,
    config::AgentConfig,
    gates::Gates,
    instance::{Containment, Group, Launcher, Process, notify::NotifySocket, process},
    journal::{Journal, Journaled},
    state::{BackingOff, Exited, InstanceRecord, Life, Run, State, Then},
};
use handover_model::{DrainLedger, HostReport, InstanceId, config::ReadinessCheck};
use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    io,
    sync::Arc,
};
use tokio::sync::{mpsc, watch};

/// How long left-over processes of an instance that nobody knows may take to be gone.
const KILL_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

impl Supervisor {
    /// Reads the journal and takes over what it says.
    ///
    /// # Errors
    /// When the journal's folder cannot be read, or /proc is not there.
    pub async fn adopt(
        config: Arc<AgentConfig>,
        bundles: Bundles,
        reports: watch::Sender<HostReport>,
    ) -> io::Result<Self> {
        let journal = Journal::new(config.journal());
        let Journaled { target, instances, gates, unreadable } = journal.read()?;
        for file in unreadable {
            tracing::error!("the journal is damaged: {file}");
        }
        let migrates = handover_gate::set_tcp_migrate_req().unwrap_or_else(|error| {
            tracing::warn!(
                error = &error as &dyn Error,
                "net.ipv4.tcp_migrate_req cannot be set: what a crash leaves in a queue is reset"
            );
            false
        });
        if let Err(error) = handover_gate::reserve_pin_ports() {
            tracing::warn!(
                error = &error as &dyn Error,
                "the pins' ports cannot be reserved: IPv6 probes may find theirs taken"
            );
        }
        let containment = Containment::detect(&format!("handover-{}", config.name));
        tracing::info!(%containment, migrates, "this host");
        let (events, happened) = mpsc::channel(EVENTS);
        let mut supervisor = Self {
            gates: Gates::new(journal.clone()),
            containment: Arc::new(containment),
            launcher: Launcher::of_this_agent(),
            bundles,
            boot_id: process::boot_id()?,
            target,
            instances: BTreeMap::new(),
            departed: VecDeque::new(),
            reports,
            events,
            happened,
            lives: 0,
            held: BTreeMap::new(),
            rotating: super::Rotating::default(),
            config,
            journal,
        };
        for record in instances {
            supervisor.take_over(record).await;
        }
        supervisor.take_over_gates(gates);
        supervisor.clear_strangers().await;
        let ids: Vec<InstanceId> = supervisor.instances.keys().cloned().collect();
        for id in &ids {
            supervisor.go_on(id);
        }
        supervisor.publish();
        Ok(supervisor)
    }

    /// One instance of the journal.
    async fn take_over(&mut self, record: InstanceRecord) {
        let id = record.instance.clone();
        let manifest = self.resolve(&record.release);
        self.lives += 1;
        let mut instance = Instance::new(record.release, record.pin, self.lives);
        instance.share = record.share;
        instance.restarts = record.restarts;
        instance.failures = record.failures;
        instance.state = self.state_of(&id, record.life).await;
        match manifest {
            Ok(manifest) => instance.manifest = Some(manifest),
            Err(reason) => tracing::error!(instance = %id, reason, "is left as it is"),
        }
        tracing::info!(instance = %id, state = ?instance.state, "taken over");
        self.instances.insert(id, instance);
    }

    /// Where an instance is now, after its record and what /proc says.
    async fn state_of(&self, id: &InstanceId, life: Life) -> State {
        let again = |reason: &str, fetched| {
            State::BackingOff(BackingOff { until: now(), since: now(), fetched, reason: reason.to_owned() })
        };
        match life {
            Life::Fetching => again("the agent was started again", false),
            Life::Fetched => State::Fetched,
            Life::BackingOff(back_off) => State::BackingOff(back_off),
            Life::GaveUp { reason, since } => State::GaveUp { reason, since },
            Life::Exited(exited) => State::Exited(exited),
            Life::Running { process, boot_id, group, run } => {
                let group = Group::reopen(group);
                let alive =
                    if boot_id == self.boot_id { Process::adopt(process).ok().flatten() } else { None };
                match (alive, group) {
                    (Some(process), Ok(group)) => State::Running { process, group, run },
                    (_, group) => {
                        if let Ok(group) = group
                            && boot_id == self.boot_id
                        {
                            end_rest(id, &group).await;
                        }
                        ended(run)
                    }
                }
            }
        }
    }

    fn take_over_gates(&mut self, gates: Vec<crate::journal::GateRecord>) {
        let instances = &self.instances;
        let socket = |id: &InstanceId, inode| {
            let group = instances.get(id)?.state.group()?;
            group.take_socket(inode).ok().flatten()
        };
        if let Err(error) = self.gates.restore(gates, socket) {
            tracing::error!(error = &error as &dyn Error, "a gate cannot be taken over");
        }
        match self.gates.verify_order() {
            Ok(notes) => notes.iter().for_each(|note| tracing::info!("gate {note}")),
            Err(error) => tracing::error!(error = &error as &dyn Error, "a gate's order is not known"),
        }
    }

    /// Ends what runs in groups of this agent's that the journal does not know: a launcher between its making and
    /// the word to go.
    async fn clear_strangers(&self) {
        let known = |id: &str| {
            self.instances.iter().any(|(i, instance)| i.as_str() == id && instance.state.group().is_some())
        };
        for name in self.containment.instances().unwrap_or_default() {
            if !known(&name)
                && let Some(group) = self.containment.leftover(&name)
            {
                let _ = group.kill(KILL_WAIT).await;
                let _ = group.remove();
            }
        }
    }

    /// Goes on with what an instance was doing.
    fn go_on(&mut self, id: &InstanceId) {
        let runtime = self.config.runtime.clone();
        let Some(instance) = self.instances.get_mut(id) else { return };
        let notify = instance.manifest.as_ref().is_some_and(|m| m.readiness.check == ReadinessCheck::Notify);
        let State::Running { process, run, .. } = &mut instance.state else { return };
        if notify {
            match NotifySocket::open(&runtime, id.as_str()) {
                Ok(socket) => instance.notify = Some(Arc::new(socket)),
                Err(error) => {
                    tracing::error!(instance = %id, error = &error as &dyn Error, "no notify socket");
                }
            }
            if let Run::Starting { since, .. } = run
                && instance.share.is_hidden()
            {
                // Its READY=1 may have been said to nobody. No client is on it, so it is started again.
                let reason = "the agent was started again while it waited for READY=1".to_owned();
                tracing::info!(instance = %id, since = ?since, reason);
                *run = Run::Stopping { since: now(), then: Then::Restart { reason } };
            }
        }
        match run.clone() {
            Run::Emptying { .. } => match self.gates.watch(&instance.release.name.service, id) {
                Ok(watch) => instance.queues = Some(watch),
                Err(error) => tracing::error!(instance = %id, error = &error as &dyn Error, "queues"),
            },
            Run::Draining { .. } => {
                let drain = instance.manifest.as_ref().map(|manifest| manifest.drain).unwrap_or_default();
                if let Err(error) = signal(id, process, drain.signal.name()) {
                    tracing::error!(instance = %id, error = error.as_ref() as &dyn Error, "drain signal");
                }
            }
            Run::Starting { .. } | Run::Ready { .. } | Run::Unhealthy { .. } | Run::Stopping { .. } => {}
        }
        instance.tasks = Tasks::default();
        self.watch_over(id);
    }
}

/// What an instance is whose main process ended while no agent looked.
fn ended(run: Run) -> State {
    let again =
        |reason: String| State::BackingOff(BackingOff { until: now(), since: now(), fetched: true, reason });
    match run {
        Run::Starting { .. } | Run::Ready { .. } => again("it ended while the agent was away".to_owned()),
        Run::Unhealthy { reason, .. } | Run::Stopping { then: Then::Restart { reason }, .. } => again(reason),
        Run::Emptying { .. } => State::Exited(Exited { at: now(), ledger: DrainLedger::default() }),
        Run::Draining { ledger, .. } | Run::Stopping { then: Then::Gone { ledger, .. }, .. } => {
            State::Exited(Exited { at: now(), ledger })
        }
    }
}

/// The main process is gone: what it left behind goes too.
async fn end_rest(id: &InstanceId, group: &Group) {
    if let Err(error) = group.kill(KILL_WAIT).await {
        tracing::error!(instance = %id, error = &error as &dyn Error, "processes are left");
    }
    let _ = group.remove();
}
