//! The host that migrates: does what is ordered once for each id, as a real agent does, and knows what is applied.

use crate::names::secs;
use handover_model::{Duration, MigrationId, MigrationState, SchemaPhase, SchemaVersion, Timestamp};
use handover_rollout::{Event, MigrationOrder};
use std::collections::BTreeMap;

/// The database's side and its agent.
#[derive(Clone, Debug)]
pub(crate) struct Migrator {
    /// The latest order; survives a crash of the server.
    pub(crate) order: Option<MigrationOrder>,
    /// How long a phase takes.
    pub(crate) takes: Duration,
    /// How many attempts fail before one succeeds.
    pub(crate) failures: u32,
    /// Whether its agent is connected.
    pub(crate) online: bool,
    /// What is applied, in order.
    pub(crate) applied: Vec<SchemaPhase>,
    /// How often each phase was begun although it was applied already.
    pub(crate) again: u32,
    begun: BTreeMap<MigrationId, Timestamp>,
    ended: BTreeMap<MigrationId, MigrationState>,
}

impl Default for Migrator {
    fn default() -> Self {
        Self {
            order: None,
            takes: secs(3),
            failures: 0,
            online: true,
            applied: Vec::new(),
            again: 0,
            begun: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }
}

impl Migrator {
    /// Time passes where it migrates; what it would report now.
    pub(crate) fn live(&mut self, now: Timestamp) -> Option<Event> {
        let order = self.order.clone().filter(|_| self.online)?;
        let begun = *self.begun.entry(order.id).or_insert(now);
        if !self.ended.contains_key(&order.id) && !order.paused && now.since(begun) >= self.takes {
            let end = self.end(order.phase);
            self.ended.insert(order.id, end);
        }
        let running = MigrationState::Running { doing: "file 42".to_owned(), rows: None };
        let state = self.ended.get(&order.id).cloned().unwrap_or(running);
        Some(Event::MigrationReported { host: order.host, migration: order.id, state })
    }

    fn end(&mut self, phase: SchemaPhase) -> MigrationState {
        if self.failures > 0 {
            self.failures -= 1;
            return MigrationState::Failed { reason: "42 cannot be applied".to_owned() };
        }
        if self.applied.contains(&phase) {
            self.again += 1;
        } else {
            self.applied.push(phase);
        }
        let version = SchemaVersion::new(41 + u32::try_from(self.applied.len()).unwrap());
        MigrationState::Done { version }
    }
}
