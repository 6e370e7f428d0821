//! A stage that migrates: what is ordered, what is heard of it, and what follows.
//!
//! An attempt has an id of its own, so that what an agent says of an earlier one is never taken for the present one. What is
//! applied stands in the database, not here: an attempt that begins anew goes on where the one before ended.

use crate::{
    Command, Deployment, DeploymentState, Migration, OnFailure, PauseCause, Record, StagePhase,
    decide::Draft,
    record::clip,
    rules::{seconds, with_detail},
};
use handover_model::{HostName, MigrationId, MigrationState, Resolution, SchemaPhase, Timestamp};

/// What is to be migrated, and where. Idempotent: ordered again under one id nothing is applied twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationOrder {
    /// Which attempt.
    pub id: MigrationId,
    /// Whose agent.
    pub host: HostName,
    /// Which of the release's migrations.
    pub phase: SchemaPhase,
    /// What a person found of one that an earlier deployment left half.
    pub resolve: Option<Resolution>,
    /// Whether it stands still for now: a person paused the deployment.
    pub paused: bool,
}

impl Deployment {
    /// What is to be migrated now: a pure function of where the deployment is.
    #[must_use]
    pub fn migration_order(&self) -> Option<MigrationOrder> {
        let paused = match &self.facts.state {
            DeploymentState::Running { phase: StagePhase::Migrating { .. }, .. } => false,
            DeploymentState::Paused {
                phase: StagePhase::Migrating { .. },
                cause: PauseCause::Operator,
                ..
            } => true,
            DeploymentState::Planning
            | DeploymentState::Running { .. }
            | DeploymentState::Paused { .. }
            | DeploymentState::RollingBack { .. }
            | DeploymentState::Ended { .. } => return None,
        };
        let &Migration { ref host, phase, resolve, .. } = self.migration()?;
        Some(MigrationOrder { id: self.migration_id(), host: host.clone(), phase, resolve, paused })
    }

    /// What the agent said last of the migrations that go on; `None` where none do, or it said nothing yet.
    #[must_use]
    pub fn migration_state(&self) -> Option<&MigrationState> {
        self.observed.migration.as_ref().filter(|_| self.migration_order().is_some())
    }

    /// The current stage's migrations.
    #[must_use]
    pub fn migration(&self) -> Option<&Migration> {
        self.current_stage()?.migration.as_ref()
    }

    fn migration_id(&self) -> MigrationId {
        MigrationId {
            deployment: self.facts.id,
            stage: self.facts.stage,
            attempt: self.facts.migration_attempt,
        }
    }

    /// Whether a stage of the plan migrates by the host's agent.
    #[must_use]
    pub fn migrates_on(&self, host: &HostName) -> bool {
        self.facts.plan.migrations().any(|migration| migration.host == *host)
    }

    pub(crate) fn begin_migration(&mut self, at: Timestamp, until: Timestamp) {
        self.facts.migration_attempt = self.facts.migration_attempt.saturating_add(1);
        self.observed.migration = None;
        self.facts.state = DeploymentState::Running { phase: StagePhase::Migrating { until }, since: at };
    }

    /// What a host says of an attempt counts where it was ordered from that host.
    pub(crate) fn hear_migration(&mut self, host: &HostName, id: MigrationId, state: MigrationState) {
        if self.migration_order().is_some_and(|order| order.id == id && order.host == *host) {
            self.observed.migration = Some(state);
        }
    }

    /// The host that migrates left the fleet: nobody will say how that ended.
    pub(crate) fn lose_migration(&mut self, host: &HostName) {
        if self.migration_order().is_some_and(|order| order.host == *host) {
            let reason = "it was removed from the fleet".to_owned();
            self.observed.migration = Some(MigrationState::Failed { reason });
        }
    }

    pub(crate) fn migrate_stage(&mut self, draft: &mut Draft, until: Timestamp, now: Timestamp) -> bool {
        let Some(migration) = self.migration() else { return false };
        let why = match &self.observed.migration {
            Some(MigrationState::Done { version }) => {
                let (phase, version) = (migration.phase, *version);
                return self.push(draft, Record::Migrated { phase, version, at: now });
            }
            Some(MigrationState::Failed { reason }) => reason.clone(),
            Some(MigrationState::Running { .. }) | None if now < until => return false,
            Some(MigrationState::Running { doing, .. }) => with_detail(self.late(migration), doing),
            None => self.late(migration),
        };
        let Migration { host, phase, on_failure, .. } = migration;
        let (reason, at) = (clip(&format!("the {phase} migrations failed on {host}: {why}")), now);
        let record = match on_failure {
            OnFailure::RollBack => Record::RollbackStarted { reason, at },
            OnFailure::Pause => Record::Paused { reason, at },
        };
        self.push(draft, record)
    }

    fn late(&self, migration: &Migration) -> String {
        let offline = self.observed.online(&migration.host) == Some(false);
        let host = if offline { "; the host is offline" } else { "" };
        format!("they did not end within {}{host}", seconds(migration.within))
    }

    /// The command that follows where another order stood before.
    pub(crate) fn migration_command(&self, before: Option<&MigrationOrder>) -> Option<Command> {
        let order = self.migration_order();
        if order.as_ref() == before {
            return None;
        }
        let host = order.as_ref().or(before)?.host.clone();
        Some(Command::Migrate { host, order })
    }

    /// What is waited for while migrations go on.
    pub(crate) fn migrating(&self) -> String {
        let Some(Migration { host, phase, .. }) = self.migration() else { return String::new() };
        let said = match &self.observed.migration {
            _ if self.observed.online(host) == Some(false) => "the host is offline".to_owned(),
            Some(MigrationState::Running { doing, .. }) => doing.clone(),
            Some(MigrationState::Done { version }) => format!("the schema is at {version}"),
            Some(MigrationState::Failed { reason }) => reason.clone(),
            None => "the host has not reported them".to_owned(),
        };
        format!("the {phase} migrations on {host} ({said})")
    }

    /// What happens where they do not end in time.
    pub(crate) fn without_migration(&self) -> String {
        let then = match self.migration().map(|migration| migration.on_failure) {
            Some(OnFailure::RollBack) => "every touched host goes back",
            Some(OnFailure::Pause) | None => "the deployment waits for a person",
        };
        format!("they have failed, and {then}")
    }
}
