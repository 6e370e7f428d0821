//! Requests by the names that operators give them: one that is sent twice has the outcome of the first.

use super::{
    effects::Effects,
    records::{RequestRecord, request_key},
    refusal::Refusal,
    state::State,
};
use crate::store::Keyspace;
use handover_model::DeploymentId;
use std::collections::BTreeMap;

/// How many requests are remembered, besides those that began the deployments of the history.
pub(super) const REMEMBERED: usize = 1000;
/// Longest request id, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// The requests that are remembered, the oldest of which make room.
#[derive(Debug, Default)]
pub(super) struct Requests {
    by_id: BTreeMap<String, u64>,
    in_order: BTreeMap<u64, RequestRecord>,
    last: u64,
}

impl Requests {
    /// One that was remembered before.
    pub(super) fn load(&mut self, sequence: u64, record: RequestRecord) {
        self.last = self.last.max(sequence);
        self.by_id.insert(record.id.clone(), sequence);
        self.in_order.insert(sequence, record);
    }

    fn get(&self, id: &str) -> Option<&RequestRecord> {
        self.in_order.get(self.by_id.get(id)?)
    }
}

impl State {
    /// That a request id is not too long.
    pub(super) fn check_request(request: &str) -> Result<(), Refusal> {
        if request.len() > MAX_REQUEST_ID {
            return Err(Refusal::Invalid(format!("a request id has at most {MAX_REQUEST_ID} bytes")));
        }
        Ok(())
    }

    /// What the same request had as its outcome; `None` where it is new. `what` says what is asked for.
    ///
    /// # Errors
    /// When the id is too long, or named another request.
    pub(super) fn answered(&self, id: &str, what: &str) -> Result<Option<&RequestRecord>, Refusal> {
        Self::check_request(id)?;
        if id.is_empty() {
            return Ok(None);
        }
        if let Some(deployment) = self.requests.get(id) {
            return Err(Refusal::RequestReused { request: id.to_owned(), deployment: *deployment });
        }
        match self.answers.get(id) {
            Some(record) if record.what == what => Ok(Some(record)),
            Some(record) => Err(Refusal::RequestUsed { request: id.to_owned(), what: record.what.clone() }),
            None => Ok(None),
        }
    }

    /// Remembers a request's outcome; nothing where it has no id.
    pub(super) fn remember(
        &mut self,
        id: &str,
        what: &str,
        deployment: Option<DeploymentId>,
        said: &str,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if id.is_empty() {
            return Ok(());
        }
        let record =
            RequestRecord { id: id.to_owned(), what: what.to_owned(), deployment, said: said.to_owned() };
        let sequence = self.answers.last + 1;
        effects.put(Keyspace::Requests, request_key(sequence), &record)?;
        self.answers.load(sequence, record);
        while self.answers.in_order.len() > REMEMBERED
            && let Some((oldest, record)) = self.answers.in_order.pop_first()
        {
            self.answers.by_id.remove(&record.id);
            effects.delete(Keyspace::Requests, request_key(oldest));
        }
        Ok(())
    }
}
