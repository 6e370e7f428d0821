//! What is durable: a narrow interface that knows no engine, and its two implementations.
//!
//! Keys and values are bytes in named keyspaces. [`Store::commit`] makes a [`Batch`] of writes true all together or
//! not at all, over any number of keyspaces, and when it returns they survive a kill and a power cut. Bundles, logs,
//! heartbeats and metrics do not belong here: values are under 8 KiB.
//!
//! A read may see a commit some milliseconds before it is durable. Whoever acts on what it committed waits for the
//! commit, not for the value to appear.

mod batch;
pub(crate) mod envelope;
mod error;
mod folder;
pub mod format;
mod inspect;
mod json;
mod memory;
mod room;
mod sled_store;
mod writer;

pub use batch::Batch;
pub use error::{OpenError, StoreError};
pub use folder::{Place, move_aside, set_aside};
pub use inspect::Inspection;
pub use json::{get_json, scan_json};
pub use memory::MemoryStore;
pub use sled_store::SledStore;

use futures_util::future::BoxFuture;
use std::{fmt, ops::ControlFlow, time::Duration};

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// Longest value, in bytes: with what the store adds to it, it stays under 8 KiB.
pub const MAX_VALUE_BYTES: usize = 8 * 1024 - 1 - envelope::OVERHEAD;
/// Most writes in one batch.
pub const MAX_BATCH_WRITES: usize = 16 * 1024;
/// Most bytes of keys and values in one batch.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Most entries that one page of a scan has.
pub const MAX_PAGE: usize = 1024;

/// Longest snapshot: commits wait while one is taken, and must not wait so long that they fail.
pub const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(20);

macro_rules! keyspaces {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// The part of the store that a key stands in. The names on disk never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Keyspace {
            $($(#[$doc])* $variant,)*
        }

        impl Keyspace {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on disk.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

keyspaces! {
    /// Facts about the store itself: the format of everything else, see [`format`].
    Meta = "meta";
    /// Facts about the fleet as a whole: its name, counters.
    Fleet = "fleet";
    /// Hosts, by name.
    Hosts = "hosts";
    /// What a host should run of a service, by host and service.
    Assignments = "assignments";
    /// Services, by name.
    Services = "services";
    /// Releases, by service and version.
    Releases = "releases";
    /// Columns that releases use and take away, by service and version.
    Columns = "columns";
    /// Pieces of manifests' texts, by service, version and index.
    Manifests = "manifests";
    /// Join tokens, by id.
    Tokens = "tokens";
    /// Deployments, by number.
    Deployments = "deployments";
    /// The engine's records, by deployment and sequence.
    Journal = "journal";
    /// Judges of deployments that go on, by deployment.
    Judges = "judges";
    /// Locks, by service; the fleet's under `*`.
    Locks = "locks";
    /// Times in which nothing new is deployed, by number.
    Freezes = "freezes";
    /// What rehearsals showed, by deployment.
    Rehearsals = "rehearsals";
    /// What deployments showed, by number.
    Lessons = "lessons";
    /// Schemas of databases, by name.
    Schemas = "schemas";
    /// Versions of schemas that releases' migrations made and that take columns away, by database, service and version.
    Taken = "taken";
    /// What a host should apply to the database of a service, by host and service.
    Migrations = "migrations";
    /// Requests that were answered, by the order in which they were.
    Requests = "requests";
    /// Operators with certificates, by name.
    Operators = "operators";
    /// Who did what, by sequence.
    Audit = "audit";
}

impl Keyspace {
    /// The keyspace with this name on disk.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|keyspace| keyspace.as_str().as_bytes() == name)
    }
}

impl fmt::Display for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// One page of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// Whether there are entries behind the last one.
    pub more: bool,
}

/// What a snapshot shows its entries to, in the order of keyspaces and keys; `Break` ends it early.
pub type Visit = Box<dyn FnMut(Keyspace, &[u8], &[u8]) -> ControlFlow<()> + Send>;

/// Where facts are kept. Cheap to call from async code: reads come from memory or a few small pages of a file.
pub trait Store: Send + Sync + 'static {
    /// The value of `key`.
    ///
    /// # Errors
    /// When the value is damaged, or the store is broken: see [`StoreError`].
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The entries whose keys begin with `prefix`, in the order of their keys, behind the key `after` where one is
    /// given: at most `limit` (and at most [`MAX_PAGE`]). Two pages need not be of the same moment.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn scan_prefix(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// Makes all writes of `batch` true, or none; durable when it returns `Ok`. Commits of one caller, one after the
    /// other, become true in that order. Nothing happens before the future is polled; dropped later, the commit may
    /// still be made.
    ///
    /// # Errors
    /// [`StoreError::Unanswered`] leaves open whether the commit was made; after any other error it was not, or the
    /// store is broken and takes nothing more until the server starts again, which shows what is there.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Shows `visit` every entry as it is at one moment between two commits. Commits wait meanwhile, so `visit` must be
    /// quick (a local file, never a network), and memory stays bounded however much there is.
    ///
    /// # Errors
    /// As [`Store::get`], and [`StoreError::SnapshotTooLong`] after [`SNAPSHOT_DEADLINE`]. The store goes on either
    /// way.
    fn snapshot(&self, visit: Visit) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// All entries whose keys begin with `prefix`, page by page: memory stays bounded however many there are.
pub fn scan<'a>(store: &'a dyn Store, keyspace: Keyspace, prefix: &'a [u8]) -> Scan<'a> {
    Scan { store, keyspace, prefix, page: Vec::new().into_iter(), after: None, done: false }
}

/// The iterator behind [`scan`]. Ends after the first error.
pub struct Scan<'a> {
    store: &'a dyn Store,
    keyspace: Keyspace,
    prefix: &'a [u8],
    page: std::vec::IntoIter<Entry>,
    after: Option<Vec<u8>>,
    done: bool,
}

impl Iterator for Scan<'_> {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.page.next() {
            return Some(Ok(entry));
        }
        if self.done {
            return None;
        }
        match self.store.scan_prefix(self.keyspace, self.prefix, self.after.as_deref(), MAX_PAGE) {
            Ok(Page { entries, more }) => {
                self.done = !more || entries.is_empty();
                self.after = entries.last().map(|(key, _)| key.clone());
                self.page = entries.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }
}
