//! The fleet and the store: loaded at the start, written down at each decision.

use super::{
    auditing,
    deployments::Live,
    effects::Effects,
    judging::JudgingRecord,
    locks::LockScope,
    operators::OperatorRecord,
    preflight::LessonRecord,
    records::{
        AssignmentRecord, DeploymentRecord, FreezeRecord, HostRecord, LockRecord, ReleaseRecord,
        RequestRecord, ServiceRecord, TokenRecord, chunk_key, deployment_key, journal_key, number_in_key,
        split_key, taken_names,
    },
    refusal::Refusal,
    rehearsals::RehearsalRecord,
    schemas::{Backfills, MigrationRecord, ReleaseColumns, SchemaRecord, Taken},
    state::{Host, State, StoredRelease},
};
use crate::{
    blobs::Bundles,
    store::{Batch, Entry, Keyspace, Store, StoreError, scan_json},
};
use handover_model::{DeploymentId, Digest, Release, ReleaseRef, Timestamp};
use handover_rollout::{Deployment, Record, ReplayError};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Writes that are committed at once; a decision that needs more (ten thousand hosts rolled back) takes several
/// commits, the journal first: what is ordered follows from it.
const COMMIT_WRITES: usize = 8 * 1024;
/// Bytes that are committed at once.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;

/// Why the store's content is not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    /// A key that this server would not have written.
    #[error("{keyspace} has the key {key:?}, which names nothing: the store was changed by something else")]
    Key {
        /// Where.
        keyspace: Keyspace,
        /// The key, for people.
        key: String,
    },
    /// A piece of a manifest is missing.
    #[error("the manifest of release {release} is not whole: piece {piece} is missing")]
    Manifest {
        /// Whose.
        release: ReleaseRef,
        /// Which, from 0.
        piece: u32,
    },
    /// A deployment's records make no sense.
    #[error("deployment {deployment} cannot be taken up again")]
    Replay {
        /// Which.
        deployment: DeploymentId,
        /// What is wrong.
        #[source]
        source: ReplayError,
    },
    /// The judge of a deployment makes no sense.
    #[error("the judge of deployment {deployment} cannot be taken up again")]
    Judge {
        /// Whose.
        deployment: DeploymentId,
        /// What is wrong.
        #[source]
        source: handover_judge::StateError,
    },
    /// What was loaded cannot go on.
    #[error("the fleet cannot be taken up again: {0}")]
    Refused(#[from] Refusal),
    /// Loading broke off.
    #[error("loading broke off: {0}")]
    Stopped(String),
}

/// Everything that the store holds, and what must be written first: where the server was killed between the commits
/// of one decision, the rest follows from the journal again.
///
/// # Errors
/// When the store is damaged, or not a fleet's.
pub(super) fn load(store: &dyn Store, now: Timestamp) -> Result<(State, Effects), LoadError> {
    let mut state = State { started: now, ..State::default() };
    for entry in scan_json::<HostRecord>(store, Keyspace::Hosts, &[]) {
        let (key, record) = entry?;
        state.hosts.insert(name(Keyspace::Hosts, &key)?, Host::new(record, BTreeMap::new()));
    }
    for entry in scan_json::<AssignmentRecord>(store, Keyspace::Assignments, &[]) {
        let (key, record) = entry?;
        let (host, service) = names(Keyspace::Assignments, &key)?;
        if let Some(host) = state.hosts.get_mut::<handover_model::HostName>(&host) {
            host.assignments.insert(service, record);
        }
    }
    for entry in scan_json::<MigrationRecord>(store, Keyspace::Migrations, &[]) {
        let (key, record) = entry?;
        let (host, service) = names(Keyspace::Migrations, &key)?;
        if let Some(host) = state.hosts.get_mut::<handover_model::HostName>(&host) {
            host.migrations.insert(service, record);
        }
    }
    for entry in scan_json::<ServiceRecord>(store, Keyspace::Services, &[]) {
        let (key, record) = entry?;
        state.services.insert(name(Keyspace::Services, &key)?, record);
    }
    for entry in scan_json::<TokenRecord>(store, Keyspace::Tokens, &[]) {
        let (key, record) = entry?;
        state.tokens.insert(name(Keyspace::Tokens, &key)?, record);
    }
    load_locks(store, &mut state)?;
    let mut operators = BTreeMap::new();
    for entry in scan_json::<OperatorRecord>(store, Keyspace::Operators, &[]) {
        let (key, record) = entry?;
        operators.insert(name(Keyspace::Operators, &key)?, record);
    }
    state.operators = Arc::new(operators);
    state.audit = auditing::load(store)?;
    load_releases(store, &mut state)?;
    let mut effects = Effects::default();
    load_deployments(store, &mut state)?;
    load_judges(store, &mut state, &mut effects)?;
    state.take_up(now, &mut effects)?;
    state.prune(&mut effects)?;
    Ok((state, effects))
}

fn load_releases(store: &dyn Store, state: &mut State) -> Result<(), LoadError> {
    let mut columns = BTreeMap::new();
    for entry in scan_json::<ReleaseColumns>(store, Keyspace::Columns, &[]) {
        let (key, record) = entry?;
        let (service, version) = names(Keyspace::Columns, &key)?;
        columns.insert(ReleaseRef { service, version }, record);
    }
    for entry in scan_json::<ReleaseRecord>(store, Keyspace::Releases, &[]) {
        let (key, mut record) = entry?;
        let (service, version) = names(Keyspace::Releases, &key)?;
        let name = ReleaseRef { service, version };
        if let Some(schema) = &mut record.schema {
            schema.columns = columns.remove(&name).unwrap_or_default();
        }
        let mut manifest = Vec::new();
        for piece in 0..record.chunks {
            let chunk = store.get(Keyspace::Manifests, &chunk_key(&name, piece))?;
            manifest.extend(chunk.ok_or_else(|| LoadError::Manifest { release: name.clone(), piece })?);
        }
        let manifest = String::from_utf8_lossy(&manifest).into_owned();
        let release = Release { name: name.clone(), bundle: record.bundle.clone(), manifest };
        state.releases.insert(name, StoredRelease { release, record });
    }
    Ok(())
}

fn load_locks(store: &dyn Store, state: &mut State) -> Result<(), LoadError> {
    for entry in scan_json::<LockRecord>(store, Keyspace::Locks, &[]) {
        let (key, record) = entry?;
        let scope = match key.as_slice() {
            b"*" => LockScope::Fleet,
            key => LockScope::Service(name(Keyspace::Locks, key)?),
        };
        state.locks.insert(scope, record);
    }
    for entry in scan_json::<FreezeRecord>(store, Keyspace::Freezes, &[]) {
        let (key, record) = entry?;
        let number = number_in_key(&key, 0).ok_or_else(|| odd(Keyspace::Freezes, &key))?;
        state.last_freeze = state.last_freeze.max(number);
        state.freezes.insert(number, record);
    }
    for entry in scan_json::<RehearsalRecord>(store, Keyspace::Rehearsals, &[]) {
        let (key, record) = entry?;
        let id =
            number_in_key(&key, 0).map(DeploymentId::new).ok_or_else(|| odd(Keyspace::Rehearsals, &key))?;
        state.rehearsals.insert(id, record);
    }
    for entry in scan_json::<LessonRecord>(store, Keyspace::Lessons, &[]) {
        let (key, record) = entry?;
        let id = number_in_key(&key, 0).map(DeploymentId::new).ok_or_else(|| odd(Keyspace::Lessons, &key))?;
        state.lessons.insert(id, record);
    }
    for entry in scan_json::<serde_json::Value>(store, Keyspace::Schemas, &[]) {
        let (key, record) = entry?;
        let wrong = |_| odd(Keyspace::Schemas, &key);
        if split_key(&key).is_some() {
            let backfills: Backfills = serde_json::from_value(record).map_err(wrong)?;
            state.backfills.insert(names(Keyspace::Schemas, &key)?, backfills);
        } else {
            let schema: SchemaRecord = serde_json::from_value(record).map_err(wrong)?;
            state.schemas.insert(name(Keyspace::Schemas, &key)?, schema);
        }
    }
    for entry in scan_json::<Taken>(store, Keyspace::Taken, &[]) {
        let (key, taken) = entry?;
        let (database, release) = taken_names(&key).ok_or_else(|| odd(Keyspace::Taken, &key))?;
        state.taken.entry(database).or_default().insert(release, taken);
    }
    for entry in scan_json::<RequestRecord>(store, Keyspace::Requests, &[]) {
        let (key, record) = entry?;
        let sequence = number_in_key(&key, 0).ok_or_else(|| odd(Keyspace::Requests, &key))?;
        state.answers.load(sequence, record);
    }
    Ok(())
}

fn load_deployments(store: &dyn Store, state: &mut State) -> Result<(), LoadError> {
    for entry in scan_json::<DeploymentRecord>(store, Keyspace::Deployments, &[]) {
        let (key, record) = entry?;
        let id =
            number_in_key(&key, 0).map(DeploymentId::new).ok_or_else(|| odd(Keyspace::Deployments, &key))?;
        state.last_deployment = state.last_deployment.max(id.number());
        if !record.request.is_empty() {
            state.requests.insert(record.request.clone(), id);
        }
        if record.ended.is_none() {
            let (engine, sequence) = replay(store, id)?;
            state.live.insert(id, Live { engine, sequence, revision: state.started.unix_millis() });
        }
        state.deployments.insert(id, record);
    }
    // A server that was killed between the commits of a large beginning left records of a deployment that nobody was told
    // of: its number is used up, so that no other deployment's records come behind them.
    while !journal_of(store, state.last_deployment + 1)?.is_empty() {
        state.last_deployment += 1;
    }
    Ok(())
}

/// A judge goes on where it was. One of a deployment that is over was left where the server was killed between the
/// commits of a large end: it goes.
fn load_judges(store: &dyn Store, state: &mut State, effects: &mut Effects) -> Result<(), LoadError> {
    for entry in scan_json::<JudgingRecord>(store, Keyspace::Judges, &[]) {
        let (key, record) = entry?;
        let id = number_in_key(&key, 0).map(DeploymentId::new).ok_or_else(|| odd(Keyspace::Judges, &key))?;
        if state.live.contains_key(&id) {
            let judging = record.try_into().map_err(|source| LoadError::Judge { deployment: id, source })?;
            state.judging.insert(id, judging);
        } else {
            effects.delete(Keyspace::Judges, key);
        }
    }
    Ok(())
}

/// The first record of a number in the journal, where there is one.
fn journal_of(store: &dyn Store, number: u64) -> Result<Vec<Entry>, StoreError> {
    let key = deployment_key(DeploymentId::new(number));
    Ok(store.scan_prefix(Keyspace::Journal, &key, None, 1)?.entries)
}

/// A deployment as the journal has it, and the number of its records.
pub(super) fn replay(store: &dyn Store, id: DeploymentId) -> Result<(Deployment, u64), LoadError> {
    let mut records = Vec::new();
    for entry in scan_json::<Record>(store, Keyspace::Journal, &deployment_key(id)) {
        let (key, record) = entry?;
        if key != journal_key(id, records.len() as u64) {
            return Err(odd(Keyspace::Journal, &key));
        }
        records.push(record);
    }
    let sequence = records.len() as u64;
    let engine =
        Deployment::replay(records).map_err(|source| LoadError::Replay { deployment: id, source })?;
    Ok((engine, sequence))
}

/// Records of a deployment in the journal, from number `from` on: at most `limit`, fewer where it ends.
pub(super) fn records(
    store: &dyn Store,
    id: DeploymentId,
    from: u64,
    limit: usize,
) -> Result<Vec<Record>, LoadError> {
    let after = from.checked_sub(1).map(|last| journal_key(id, last));
    let page = store.scan_prefix(Keyspace::Journal, &deployment_key(id), after.as_deref(), limit)?;
    let read = |(key, value): (Vec<u8>, Vec<u8>)| {
        serde_json::from_slice(&value).map_err(|_| odd(Keyspace::Journal, &key))
    };
    page.entries.into_iter().map(read).collect()
}

fn odd(keyspace: Keyspace, key: &[u8]) -> LoadError {
    LoadError::Key { keyspace, key: key.escape_ascii().to_string() }
}

fn name<T: std::str::FromStr>(keyspace: Keyspace, key: &[u8]) -> Result<T, LoadError> {
    std::str::from_utf8(key).ok().and_then(|text| text.parse().ok()).ok_or_else(|| odd(keyspace, key))
}

fn names<A: std::str::FromStr, B: std::str::FromStr>(
    keyspace: Keyspace,
    key: &[u8],
) -> Result<(A, B), LoadError> {
    split_key(key)
        .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)))
        .ok_or_else(|| odd(keyspace, key))
}

type Writes = BTreeMap<(Keyspace, Vec<u8>), Option<Vec<u8>>>;

/// Writes everything, in one commit where it fits, and waits until it is durable.
pub(super) async fn commit(store: &Arc<dyn Store>, writes: Writes) -> Result<(), Refusal> {
    for batch in batches(writes).map_err(|error| Refusal::Internal(error.to_string()))? {
        store.commit(batch).await.map_err(|error| Refusal::Store(error.to_string()))?;
    }
    Ok(())
}

/// In order: what schemas are (nothing makes that again from the journal, and a migration that is ordered once more finds that
/// it is done), the journal's new records and the audit's entries (what the journal has is done, and must be told), everything
/// else, what is dropped of the journal.
pub(super) fn batches(writes: Writes) -> Result<Vec<Batch>, StoreError> {
    let mut ordered: Vec<_> = writes.into_iter().collect();
    ordered.sort_by_key(|((keyspace, _), value)| match (keyspace, value) {
        (Keyspace::Schemas | Keyspace::Taken, Some(_)) => 0,
        (Keyspace::Journal | Keyspace::Audit, Some(_)) => 1,
        (Keyspace::Journal, None) => 3,
        _ => 2,
    });
    let mut batches = vec![Batch::new()];
    let mut bytes = 0;
    for ((keyspace, key), value) in ordered {
        let size = key.len() + value.as_ref().map_or(0, Vec::len);
        let full =
            batches.last().is_none_or(|batch| batch.len() >= COMMIT_WRITES || bytes + size > COMMIT_BYTES);
        if full {
            batches.push(Batch::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(batch) = batches.last_mut() {
            match value {
                Some(value) => batch.put(keyspace, key, value)?,
                None => batch.delete(keyspace, key)?,
            };
        }
    }
    batches.retain(|batch| !batch.is_empty());
    Ok(batches)
}

/// Deletes the bundles that nobody needs. Not waited for: what is left over is deleted the next time.
pub(super) fn prune(bundles: &Bundles, keep: BTreeSet<Digest>) {
    let bundles = bundles.clone();
    tokio::spawn(async move {
        match bundles.prune(keep).await {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => tracing::info!(bundles = gone.len(), "bundles that nobody needs are deleted"),
            Err(error) => tracing::warn!(%error, "bundles that nobody needs cannot be deleted"),
        }
    });
}
