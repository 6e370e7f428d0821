//! The one thread that writes: it takes what waits, applies each batch as one transaction, makes all of them durable
//! with one flush and one fsync, and then answers everybody.
//!
//! Why a thread and not tasks: the engine's own asynchronous flush deadlocks under concurrency (sled 1308, 1241, 1357),
//! and one fsync for many commits is what makes them cheap.

use super::{
    Batch, Keyspace, SNAPSHOT_DEADLINE, StoreError, Visit, envelope, folder::Mark, room,
    sled_store::COMMITS_KEY,
};
use sled::{
    Tree,
    transaction::{ConflictableTransactionError, TransactionError, Transactional as _},
};
use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    time::Instant,
};
use tokio::sync::{mpsc, oneshot};

/// Most commits that share one fsync.
const MAX_GROUP: usize = 256;

/// What waits for the thread.
pub(super) enum Request {
    /// A batch to make durable.
    Commit(Waiting),
    /// A reader of everything, between two commits.
    Snapshot(Visit, Answer),
}

/// Who waits for an answer.
pub(super) type Answer = oneshot::Sender<Result<(), StoreError>>;

/// A batch that waits, and who waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) batch: Batch,
    pub(super) done: Answer,
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
    /// The tree of the store's own records, which counts the commits.
    pub(super) format: Tree,
    /// The engine's data file, by a descriptor of our own.
    pub(super) data: File,
    /// How many batches were committed.
    pub(super) commits: u64,
    /// Where that number is written down once they are durable.
    pub(super) mark: Mark,
    pub(super) failure: Failure,
}

impl Writer {
    /// Serves until the last sender is gone. Blocks: has a thread of its own.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut held = None;
        while let Some(request) = held.take().or_else(|| queue.blocking_recv()) {
            match request {
                // Who no longer waits needs no answer, here and below.
                Request::Snapshot(visit, done) => drop(done.send(self.show(visit))),
                Request::Commit(first) => {
                    let mut group = vec![first];
                    while group.len() < MAX_GROUP && held.is_none() {
                        match queue.try_recv() {
                            Ok(Request::Commit(next)) => group.push(next),
                            Ok(snapshot @ Request::Snapshot(..)) => held = Some(snapshot),
                            Err(_) => break,
                        }
                    }
                    let result = self.serve(&group);
                    for waiting in group {
                        let _ = waiting.done.send(result.clone());
                    }
                }
            }
        }
    }

    fn serve(&mut self, group: &[Waiting]) -> Result<(), StoreError> {
        if let Some(failure) = self.failure.get() {
            return Err(failure.clone());
        }
        // The engine panics on some failures of the disk; a thread that is gone would leave everybody waiting.
        let result = catch_unwind(AssertUnwindSafe(|| self.write(group)))
            .unwrap_or_else(|_| Err(StoreError::Broken("the engine panicked".to_owned())));
        // After a failed fsync the kernel may call the same pages clean: trying again would prove nothing.
        result.map_err(|error| self.failure.get_or_init(|| error).clone())
    }

    fn write(&mut self, group: &[Waiting]) -> Result<(), StoreError> {
        let bytes = group.iter().map(|waiting| waiting.batch.bytes()).sum();
        room::reserve(&self.data, bytes).map_err(|error| io_error(&error))?;
        for waiting in group {
            self.apply(&waiting.batch)?;
        }
        self.db.flush().map_err(|error| engine_error(&error))?;
        self.data.sync_all().map_err(|error| io_error(&error))?;
        // Only now: it must never say more than what is durable.
        self.mark.confirm(self.commits).map_err(|error| io_error(&error))
    }

    /// Shows everything. What goes wrong in it breaks nothing: it only reads.
    fn show(&self, mut visit: Visit) -> Result<(), StoreError> {
        if let Some(failure) = self.failure.get() {
            return Err(failure.clone());
        }
        let until = Instant::now() + SNAPSHOT_DEADLINE;
        let shown = catch_unwind(AssertUnwindSafe(|| {
            for keyspace in Keyspace::ALL.iter().copied() {
                for entry in &self.trees[keyspace as usize] {
                    let (key, sealed) = entry.map_err(|error| engine_error(&error))?;
                    if Instant::now() > until {
                        return Err(StoreError::SnapshotTooLong(SNAPSHOT_DEADLINE));
                    }
                    if visit(keyspace, &key, envelope::open(keyspace, &key, &sealed)?).is_break() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        }));
        shown.unwrap_or_else(|_| Err(StoreError::Broken("the engine panicked".to_owned())))
    }

    /// One transaction over all trees that the batch writes to, and the count of commits.
    fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut touched: Vec<Keyspace> = batch.writes().map(|(keyspace, ..)| keyspace).collect();
        touched.dedup();
        if touched.is_empty() {
            return Ok(());
        }
        let mut trees: Vec<&Tree> = touched.iter().map(|keyspace| &self.trees[*keyspace as usize]).collect();
        let counter = trees.len();
        trees.push(&self.format);
        let count = self.commits + 1;
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
            trees[counter].insert(COMMITS_KEY, &count.to_be_bytes())?;
            Ok::<(), ConflictableTransactionError<()>>(())
        });
        applied.map_err(|error| match error {
            TransactionError::Abort(()) => StoreError::Broken("the engine aborted a transaction".to_owned()),
            TransactionError::Storage(error) => engine_error(&error),
        })?;
        self.commits = count;
        Ok(())
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
