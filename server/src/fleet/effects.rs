//! What follows from a decision: facts to write first, then acts.

use super::refusal::Refusal;
use crate::{events::Event, store::Keyspace};
use handover_model::{Digest, HostName, ServiceName};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a decision brings with it. The actor writes `writes` in one commit, waits until it is durable, and only then
/// does the rest.
#[derive(Debug, Default)]
#[must_use = "what was decided must be written and done"]
pub struct Effects {
    /// By place; a later value for the same place replaces the earlier one. `None` deletes.
    pub writes: BTreeMap<(Keyspace, Vec<u8>), Option<Vec<u8>>>,
    /// Hosts whose target is another one now.
    pub targets: BTreeSet<HostName>,
    /// Flips that are confirmed: of each host and service, for which order.
    pub confirms: BTreeMap<HostName, BTreeMap<ServiceName, u64>>,
    /// Sessions to end, and what to tell the agent.
    pub end_sessions: BTreeMap<HostName, Refusal>,
    /// Whether something that watchers see has changed.
    pub changed: bool,
    /// What happened, for people who watch.
    pub events: Vec<Event>,
    /// Whether an operator's rights are other ones now.
    pub roster: bool,
    /// Where bundles are to be pruned: those to keep.
    pub keep_bundles: Option<BTreeSet<Digest>>,
}

impl Effects {
    /// Writes `value` as JSON.
    ///
    /// # Errors
    /// When the value cannot be written as JSON, which is a mistake of this program.
    pub fn put<T: Serialize>(&mut self, keyspace: Keyspace, key: Vec<u8>, value: &T) -> Result<(), Refusal> {
        let value = serde_json::to_vec(value).map_err(|error| {
            Refusal::Internal(format!("a record of {keyspace:?} cannot be written: {error}"))
        })?;
        self.writes.insert((keyspace, key), Some(value));
        Ok(())
    }

    /// Writes bytes as they are.
    pub fn put_bytes(&mut self, keyspace: Keyspace, key: Vec<u8>, value: &[u8]) {
        self.writes.insert((keyspace, key), Some(value.to_vec()));
    }

    /// Deletes.
    pub fn delete(&mut self, keyspace: Keyspace, key: Vec<u8>) {
        self.writes.insert((keyspace, key), None);
    }
}
