//! The one thread that writes: it takes what waits, applies each batch as one transaction, makes all of them durable
//! with one flush and one fsync, and then answers everybody.
//!
//! Why a thread and not tasks: the engine's own asynchronous flush deadlocks under concurrency (sled 1308, 1241, 1357),
//! and one fsync for many commits is what makes them cheap.

use super::{Batch, Keyspace, StoreError, envelope};
use sled::{
    Tree,
    transaction::{ConflictableTransactionError, TransactionError, Transactional as _},
};
use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};
use tokio::sync::{mpsc, oneshot};

/// Most commits that share one fsync.
const MAX_GROUP: usize = 256;

/// A batch that waits, and who waits for it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) batch: Batch,
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

/// A value as it is stored.
type Sealed = Vec<u8>;

/// Set once, when the engine fails; from then on nothing is read or written.
pub(super) type Failure = Arc<OnceLock<StoreError>>;

/// What the thread owns.
pub(super) struct Writer {
    pub(super) db: sled::Db,
    /// In the order of [`Keyspace::ALL`].
    pub(super) trees: Arc<[Tree]>,
    /// The engine's data file, by a descriptor of our own.
    pub(super) data: File,
    pub(super) failure: Failure,
}

impl Writer {
    /// Serves until the last sender is gone. Blocks: has a thread of its own.
    pub(super) fn run(self, mut queue: mpsc::Receiver<Request>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = vec![first];
            while group.len() < MAX_GROUP
                && let Ok(next) = queue.try_recv()
            {
                group.push(next);
            }
            let result = self.serve(&group);
            for request in group {
                // Who no longer waits needs no answer.
                let _ = request.done.send(result.clone());
            }
        }
    }

    fn serve(&self, group: &[Request]) -> Result<(), StoreError> {
        if let Some(failure) = self.failure.get() {
            return Err(failure.clone());
        }
        // The engine panics on some failures of the disk; a thread that is gone would leave everybody waiting.
        let result = catch_unwind(AssertUnwindSafe(|| self.write(group)))
            .unwrap_or_else(|_| Err(StoreError::Broken("the engine panicked".to_owned())));
        // After a failed fsync the kernel may call the same pages clean: trying again would prove nothing.
        result.map_err(|error| self.failure.get_or_init(|| error).clone())
    }

    fn write(&self, group: &[Request]) -> Result<(), StoreError> {
        for request in group {
            self.apply(&request.batch)?;
        }
        self.db.flush().map_err(|error| engine_error(&error))?;
        self.data.sync_all().map_err(|error| io_error(&error))
    }

    /// One transaction over all trees that the batch writes to.
    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut touched: Vec<Keyspace> = batch.writes().map(|(keyspace, ..)| keyspace).collect();
        touched.dedup();
        if touched.is_empty() {
            return Ok(());
        }
        let trees: Vec<&Tree> = touched.iter().map(|keyspace| &self.trees[*keyspace as usize]).collect();
        // The closure may run several times: it only reads what is made here.
        let writes: Vec<(usize, &[u8], Option<Sealed>)> = batch
            .writes()
            .map(|(keyspace, key, value)| {
                let tree = touched.partition_point(|other| *other < keyspace);
                (tree, key, value.map(|value| envelope::seal(keyspace, key, value)))
            })
            .collect();
        let applied = trees.as_slice().transaction(|trees| {
            for (tree, key, value) in &writes {
                match value {
                    Some(value) => trees[*tree].insert(*key, value.as_slice())?,
                    None => trees[*tree].remove(*key)?,
                };
            }
            Ok::<(), ConflictableTransactionError<()>>(())
        });
        applied.map_err(|error| match error {
            TransactionError::Abort(()) => StoreError::Broken("the engine aborted a transaction".to_owned()),
            TransactionError::Storage(error) => engine_error(&error),
        })
    }
}

/// What the engine says, as the store says it.
pub(super) fn engine_error(error: &sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => io_error(error),
        other => StoreError::Broken(other.to_string()),
    }
}

fn io_error(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull,
        _ => StoreError::Broken(error.to_string()),
    }
}
