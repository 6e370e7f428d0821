//! Migrations that the target names: begun, paused, ended as it says, and told of. They run beside the supervisor: it turns
//! once a second whatever a database does.

mod attempt;
mod database;
mod program;

use crate::{
    bundles::Bundles,
    config::AgentConfig,
    instance::{Containment, Launcher},
};
use attempt::Attempt;
use handover_model::{HostValues, MigrationId, MigrationState, MigrationTarget, ServiceName};
use handover_schema::Control;
use program::Ground;
use std::{collections::BTreeMap, sync::Arc};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::Instrument as _;

/// What the target wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What the host's own values in manifests stand for; `None` before there was a target.
    pub(crate) host: Option<HostValues>,
    /// What is to be applied, by service.
    pub(crate) migrations: BTreeMap<ServiceName, MigrationTarget>,
}
/// Where each wanted migration is.
pub(crate) type Told = BTreeMap<MigrationId, MigrationState>;

/// States under way at most: each attempt sends few, and waits.
const EVENTS: usize = 64;

/// The task that runs migrations.
#[derive(Debug)]
pub(crate) struct Migrating {
    config: Arc<AgentConfig>,
    bundles: Bundles,
    ground: Ground,
    wanted: watch::Receiver<Wanted>,
    told: watch::Sender<Told>,
    running: BTreeMap<ServiceName, Running>,
    /// Attempts that were ended, by service, and are not over yet: the next one of the service waits for them.
    ending: BTreeMap<ServiceName, JoinHandle<()>>,
    events: mpsc::Sender<(MigrationId, MigrationState)>,
    happened: mpsc::Receiver<(MigrationId, MigrationState)>,
}

#[derive(Debug)]
struct Running {
    id: MigrationId,
    control: Control,
    task: JoinHandle<()>,
}

/// The supervisor's ends: what it wants, and what it is told.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Takes what the target wants.
    pub(crate) wanted: watch::Sender<Wanted>,
    /// Tells where each is.
    pub(crate) told: watch::Receiver<Told>,
    task: JoinHandle<()>,
}

impl Ends {
    /// Nothing is wanted any more: comes back once what ran has ended.
    pub(crate) async fn close(self) {
        let Self { wanted, told: _, task } = self;
        drop(wanted);
        // A task that panicked is over as well.
        let _ = task.await;
    }
}

impl Migrating {
    /// Begins the task.
    pub(crate) fn begin(
        config: Arc<AgentConfig>,
        bundles: Bundles,
        containment: Arc<Containment>,
        launcher: Launcher,
    ) -> Ends {
        let (want, wanted) = watch::channel(Wanted::default());
        let (tell, told) = watch::channel(Told::new());
        let (events, happened) = mpsc::channel(EVENTS);
        let running = BTreeMap::new();
        let ending = BTreeMap::new();
        let (state, runtime) = (config.state.clone(), config.runtime.clone());
        let ground = Ground { launcher, containment, state, runtime };
        let migrating =
            Self { config, bundles, ground, wanted, told: tell, running, ending, events, happened };
        let task = tokio::spawn(migrating.run().in_current_span());
        Ends { wanted: want, told, task }
    }

    /// Runs until the supervisor is gone. What migrates then is ended: the database takes back what is not whole.
    async fn run(mut self) {
        self.ground.clear_all().await;
        self.reconcile();
        loop {
            tokio::select! {
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.reconcile(),
                    Err(_) => break,
                },
                Some((id, state)) = self.happened.recv() => self.take(id, state),
            }
        }
        let running = std::mem::take(&mut self.running);
        running.values().for_each(|running| running.control.cancel());
        for Running { task, .. } in running.into_values() {
            // Who waits for this has a deadline of its own.
            let _ = task.await;
        }
    }

    /// Makes what runs what is wanted.
    fn reconcile(&mut self) {
        let Wanted { host, migrations: wanted } = self.wanted.borrow_and_update().clone();
        let others: Vec<ServiceName> = self
            .running
            .iter()
            .filter(|(service, running)| wanted.get(*service).is_none_or(|target| target.id != running.id))
            .map(|(service, _)| service.clone())
            .collect();
        for service in others {
            if let Some(running) = self.running.remove(&service) {
                tracing::info!(%service, migration = %running.id, "is wanted no more");
                running.control.cancel();
                self.ending.insert(service, running.task);
            }
        }
        let ids: Vec<MigrationId> = wanted.values().map(|target| target.id).collect();
        self.told.send_if_modified(|told| {
            let before = told.len();
            told.retain(|id, _| ids.contains(id));
            told.len() != before
        });
        let Some(host) = host else { return };
        for (service, target) in wanted {
            self.lead(&service, target, &host);
        }
    }

    /// Begins an attempt, or tells the one that runs to pause or go on.
    fn lead(&mut self, service: &ServiceName, target: MigrationTarget, host: &HostValues) {
        if let Some(running) = self.running.get(service) {
            match target.paused {
                true => running.control.pause(),
                false => running.control.resume(),
            }
            return;
        }
        let (id, over) = (target.id, self.is_over(target.id));
        if over {
            return;
        }
        tracing::info!(%service, migration = %id, phase = %target.phase, release = %target.release.name, "migrates");
        let control = Control::new();
        if target.paused {
            control.pause();
        }
        let attempt = Attempt {
            target,
            host: host.clone(),
            ground: self.ground.clone(),
            bundles: self.bundles.clone(),
            databases: self.config.databases.clone(),
            by: self.config.name.to_string(),
            control: control.clone(),
        };
        let (events, before) = (self.events.clone(), self.ending.remove(service));
        let span = tracing::info_span!("migration", %service, migration = %id);
        let task = async move {
            if let Some(before) = before {
                // A task that panicked is over as well.
                let _ = before.await;
            }
            let told = events.clone();
            let tell = move |state| {
                // One that finds no room is followed by another; the last one waits for room.
                let _ = told.try_send((id, state));
            };
            // In a task of its own: should it break off, that is an end as well, and nobody waits for another.
            let attempt = tokio::spawn(attempt.run(tell).in_current_span());
            let end = attempt.await.unwrap_or_else(|error| MigrationState::Failed {
                reason: format!("the agent's work on it broke off: {error}"),
            });
            let _ = events.send((id, end)).await;
        };
        let task = tokio::spawn(task.instrument(span));
        self.running.insert(service.clone(), Running { id, control, task });
    }

    fn is_over(&self, id: MigrationId) -> bool {
        match self.told.borrow().get(&id) {
            Some(MigrationState::Done { .. } | MigrationState::Failed { .. }) => true,
            Some(MigrationState::Running { .. }) | None => false,
        }
    }

    fn take(&mut self, id: MigrationId, state: MigrationState) {
        let service = self.running.iter().find(|(_, running)| running.id == id).map(|(name, _)| name.clone());
        // It is wanted no more.
        let Some(service) = service else { return };
        match &state {
            MigrationState::Done { version } => {
                tracing::info!(%service, migration = %id, %version, "migrated");
            }
            MigrationState::Failed { reason } => {
                tracing::warn!(%service, migration = %id, reason, "cannot be migrated");
            }
            MigrationState::Running { .. } => {}
        }
        if !matches!(state, MigrationState::Running { .. }) {
            self.running.remove(&service);
        }
        self.told.send_modify(|told| {
            told.insert(id, state);
        });
    }
}
