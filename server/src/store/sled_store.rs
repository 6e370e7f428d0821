//! The store on sled 0.34.7, embedded in the server.
//!
//! What the engine is not trusted with is done here: fsync (its flush leaves it out on Linux), values of bounded size
//! (larger pages leave the synced file), checksums, a format that is checked before anything is believed.

use super::{
    Batch, Entry, Keyspace, MAX_PAGE, OpenError, Page, Store, StoreError, Visit, envelope,
    folder::Folder,
    format, room,
    writer::{Answer, Failure, Request, Waiting, Writer, engine_error},
};
use futures_util::future::BoxFuture;
use sled::{Db, Tree};
use std::{
    fmt, io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Memory for the engine's pages, in bytes (its default is 1 GiB).
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// A leaf holds up to 16 values before it is split. The engine puts a page that is larger than a quarter of a segment
/// into a file of its own that it never syncs: 16 values of 8 KiB pass a quarter of its default of 512 KiB, and are
/// far from a quarter of this.
const SEGMENT_BYTES: usize = 2 * 1024 * 1024;
/// Commits that wait at most, before committers wait for a place.
const QUEUE: usize = 1024;
/// Longest wait for a place in the queue.
const QUEUE_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for the disk.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// The tree with the store's own record, and the record's key.
const FORMAT_TREE: &[u8] = b"format";
const FORMAT_KEY: &[u8] = b"store";
/// The record: what this server writes and reads.
const FORMAT: &str = "handover-store 1";
/// The key, in the same tree, of how many batches were committed (eight bytes, big-endian).
pub(super) const COMMITS_KEY: &[u8] = b"commits";
/// A disk with less room than this counts as full where the engine fails without saying why: it grows by segments.
const LEAST_ROOM: u64 = 2 * SEGMENT_BYTES as u64;
/// The tree that the engine always has, and that is not used.
const DEFAULT_TREE: &[u8] = b"__sled__default";

/// The engine must not be opened twice in a process (sled 1289).
static OPENED: AtomicBool = AtomicBool::new(false);

/// The durable store. One for each process, for its whole life.
pub struct SledStore {
    /// In the order of [`Keyspace::ALL`].
    trees: Arc<[Tree]>,
    queue: mpsc::Sender<Request>,
    failure: Failure,
    thread: JoinHandle<()>,
}

/// The engine, open on a folder.
pub(super) struct Engine {
    pub(super) db: Db,
    /// In the order of [`Keyspace::ALL`].
    pub(super) trees: Arc<[Tree]>,
    format: Tree,
    /// How many batches were committed.
    pub(super) commits: u64,
}

impl SledStore {
    /// Opens the store in the folder `path`, or makes it there. Reads every value once and checks it. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing is deleted, and what is foreign or newer is left as it is.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let mut folder = Folder::take(path)?;
        if folder.path.join("db").exists() {
            let full = |error: io::Error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    OpenError::DiskFull { path: folder.path.clone(), why: error.to_string() }
                }
                _ => {
                    let doing = "allocate room for the store";
                    OpenError::Folder { doing, path: folder.path.clone(), source: error }
                }
            };
            room::reserve_for_opening(&folder.data_file()?).map_err(full)?;
        }
        let engine = Engine::open(&folder, &folder.path)?;
        engine.check_values(&folder)?;
        folder.check_commits(engine.commits)?;
        folder.sync_all()?;
        folder.mark_made(engine.commits)?;
        let data = folder.data_file()?;
        let failure = Failure::default();
        let (queue, requests) = mpsc::channel(QUEUE);
        let trees = Arc::clone(&engine.trees);
        let writer = Writer {
            db: engine.db,
            trees: engine.trees,
            format: engine.format,
            data,
            commits: engine.commits,
            mark: folder.mark()?,
            failure: Arc::clone(&failure),
        };
        let path = folder.path.clone();
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                writer.run(requests);
                // Another process may come only when the last write is done.
                drop(folder);
            })
            .map_err(|source| OpenError::Folder { doing: "start the thread that writes to", path, source })?;
        Ok(Self { trees, queue, failure, thread })
    }

    /// Waits until the engine has let go of its files. For who moves them: a server just ends.
    pub fn close(self) {
        let Self { trees, queue, failure: _, thread } = self;
        drop((trees, queue));
        // A panic of the thread was printed; its files are as after a kill.
        let _ = thread.join();
    }

    fn tree(&self, keyspace: Keyspace) -> Result<&Tree, StoreError> {
        match self.failure.get() {
            Some(failure) => Err(failure.clone()),
            None => Ok(&self.trees[keyspace as usize]),
        }
    }
}

// Not derived: the engine would print its whole content.
impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("failure", &self.failure).finish_non_exhaustive()
    }
}

fn unreadable(folder: &Folder, why: &dyn fmt::Display) -> OpenError {
    OpenError::Unreadable { path: folder.path.clone(), why: why.to_string() }
}

/// The engine's failure, which may be a full disk.
fn failed(folder: &Folder, error: &sled::Error) -> OpenError {
    let full = match error {
        sled::Error::Io(error) => {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        }
        _ => false,
    };
    failed_with(folder, full, &error)
}

fn failed_with(folder: &Folder, full: bool, why: &dyn fmt::Display) -> OpenError {
    let room = nix::sys::statvfs::statvfs(&folder.path)
        .map_or(u64::MAX, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()));
    if full || room < LEAST_ROOM {
        OpenError::DiskFull { path: folder.path.clone(), why: why.to_string() }
    } else {
        unreadable(folder, why)
    }
}

impl Engine {
    /// Opens the engine on the files in `files`, which are those of `folder` or a copy of them.
    pub(super) fn open(folder: &Folder, files: &Path) -> Result<Self, OpenError> {
        if OPENED.swap(true, Ordering::SeqCst) {
            return Err(OpenError::OpenedBefore);
        }
        // On some damaged files, and on a full disk, the engine panics.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::open_files(folder, files)));
        opened.unwrap_or_else(|_| Err(failed_with(folder, false, &"the engine panicked on it")))
    }

    fn open_files(folder: &Folder, files: &Path) -> Result<Self, OpenError> {
        let engine = |error: sled::Error| failed(folder, &error);
        let db = sled::Config::new()
            .path(files)
            .cache_capacity(CACHE_BYTES)
            .segment_size(SEGMENT_BYTES)
            // Every commit is flushed by the writer; the engine's own timer would only get in between.
            .flush_every_ms(None)
            .open()
            .map_err(engine)?;
        check_format(folder, &db)?;
        let format = db.open_tree(FORMAT_TREE).map_err(engine)?;
        let commits = format.get(COMMITS_KEY).map_err(engine)?;
        let commits = commits.and_then(|count| Some(u64::from_be_bytes(count.as_ref().try_into().ok()?)));
        let trees: Result<Vec<Tree>, _> =
            Keyspace::ALL.iter().map(|keyspace| db.open_tree(keyspace.as_str())).collect();
        let trees: Arc<[Tree]> = trees.map_err(engine)?.into();
        db.flush().map_err(engine)?;
        Ok(Self { db, trees, format, commits: commits.unwrap_or(0) })
    }

    /// Reads every value once: nothing is believed of a store of which one is damaged.
    fn check_values(&self, folder: &Folder) -> Result<(), OpenError> {
        for keyspace in Keyspace::ALL.iter().copied() {
            for entry in &self.trees[keyspace as usize] {
                let (key, sealed) = entry.map_err(|error| failed(folder, &error))?;
                envelope::open(keyspace, &key, &sealed)
                    .map_err(|source| OpenError::Record { path: folder.path.clone(), source })?;
            }
        }
        Ok(())
    }
}

/// Whether the folder's content is ours and of a format that is understood; an empty one becomes ours.
fn check_format(folder: &Folder, db: &Db) -> Result<(), OpenError> {
    let engine = |error: sled::Error| failed(folder, &error);
    let foreign = |why: String| OpenError::Foreign { path: folder.path.clone(), why };
    let names: Vec<_> = db.tree_names().into_iter().filter(|name| name != DEFAULT_TREE).collect();
    if !names.iter().any(|name| name == FORMAT_TREE) {
        if folder.made {
            // The engine takes a data file that is damaged at its beginning for an empty one.
            return Err(unreadable(folder, &"a store was made here, and the engine finds nothing of it"));
        }
        // What a crash during the very first start leaves behind has no trees of ours yet.
        if !names.is_empty() || !db.is_empty() {
            return Err(foreign("it is a database of another program".to_owned()));
        }
        let format = db.open_tree(FORMAT_TREE).map_err(engine)?;
        format.insert(FORMAT_KEY, FORMAT).map_err(engine)?;
        db.flush().map_err(engine)?;
        return Ok(());
    }
    let format = db.open_tree(FORMAT_TREE).map_err(engine)?;
    match format.get(FORMAT_KEY).map_err(engine)? {
        Some(found) if *found == *FORMAT.as_bytes() => {}
        Some(found) => {
            let found = String::from_utf8_lossy(&found).chars().take(60).collect();
            return Err(OpenError::Format { path: folder.path.clone(), found, known: FORMAT });
        }
        // The tree was made and the crash came before its record.
        None if names.len() == 1 => {
            format.insert(FORMAT_KEY, FORMAT).map_err(engine)?;
            db.flush().map_err(engine)?;
        }
        None => return Err(foreign("its record of the format is missing".to_owned())),
    }
    check_records_format(folder, db, &names)?;
    let ours =
        |name: &[u8]| name == FORMAT_TREE || Keyspace::ALL.iter().any(|k| k.as_str().as_bytes() == name);
    match names.iter().find(|name| !ours(name)) {
        Some(name) => Err(foreign(format!(
            "it has a keyspace {:?} that this server does not know: a newer server wrote it; start that one",
            String::from_utf8_lossy(name)
        ))),
        None => Ok(()),
    }
}

/// Whether the records are of a format that is understood. Before the keyspaces are looked at, since a newer server
/// may have more of them, and this says which server it was.
fn check_records_format(folder: &Folder, db: &Db, names: &[sled::IVec]) -> Result<(), OpenError> {
    let engine = |error: sled::Error| failed(folder, &error);
    let (keyspace, key) = (Keyspace::Meta, format::KEY);
    if !names.iter().any(|name| *name == keyspace.as_str()) {
        return Ok(());
    }
    let Some(sealed) = db.open_tree(keyspace.as_str()).and_then(|tree| tree.get(key)).map_err(engine)? else {
        return Ok(());
    };
    let damaged = |source| OpenError::Record { path: folder.path.clone(), source };
    let value = envelope::open(keyspace, key, &sealed).map_err(damaged)?;
    let record = format::FormatRecord::read(value).map_err(damaged)?;
    match record.version > format::VERSION {
        true => Err(OpenError::NewerFormat {
            path: folder.path.clone(),
            found: record.version,
            known: format::VERSION,
            oldest_reader: record.oldest_reader,
            written_by: record.written_by,
        }),
        false => Ok(()),
    }
}

impl Store for SledStore {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed = self.tree(keyspace)?.get(key).map_err(|error| engine_error(&error))?;
        sealed.map(|sealed| envelope::open(keyspace, key, &sealed).map(<[u8]>::to_vec)).transpose()
    }

    fn scan_prefix(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let limit = limit.min(MAX_PAGE);
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut page = Page::default();
        for entry in self.tree(keyspace)?.range::<&[u8], _>((from, Bound::Unbounded)) {
            let (key, sealed) = entry.map_err(|error| engine_error(&error))?;
            if !key.starts_with(prefix) {
                break;
            }
            if page.entries.len() == limit {
                page.more = true;
                break;
            }
            let value = envelope::open(keyspace, &key, &sealed)?.to_vec();
            page.entries.push(Entry::from((key.to_vec(), value)));
        }
        Ok(page)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.ask(|done| Request::Commit(Waiting { batch, done })))
    }

    fn snapshot(&self, visit: Visit) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.ask(|done| Request::Snapshot(visit, done)))
    }
}

impl SledStore {
    /// Has the thread do something, and waits for its answer.
    async fn ask(&self, request: impl FnOnce(Answer) -> Request) -> Result<(), StoreError> {
        let gone = || {
            let gone = || StoreError::Broken("its thread has ended".to_owned());
            self.failure.get().cloned().unwrap_or_else(gone)
        };
        let place = timeout(QUEUE_DEADLINE, self.queue.reserve())
            .await
            .map_err(|_| StoreError::Busy(QUEUE_DEADLINE))?
            .map_err(|_| gone())?;
        let (done, answer) = oneshot::channel();
        place.send(request(done));
        match timeout(ANSWER_DEADLINE, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(StoreError::Unanswered(ANSWER_DEADLINE)),
        }
    }
}
