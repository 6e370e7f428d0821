//! What can go wrong with the store, and what to do about it.

use super::{Keyspace, MAX_BATCH_BYTES, MAX_BATCH_WRITES, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use std::{fmt::Write as _, io, path::PathBuf, sync::Arc};

/// Why a read or a commit failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Larger than the engine keeps well.
    #[error(
        "the value of {keyspace} {key} has {bytes} bytes, at most {MAX_VALUE_BYTES} are kept: cut it into several records"
    )]
    ValueTooLarge {
        /// Where.
        keyspace: Keyspace,
        /// The key, for people.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// A key that is no key.
    #[error("a key of {keyspace} has {bytes} bytes, at most {MAX_KEY_BYTES} are kept: {key}")]
    KeyTooLong {
        /// Where.
        keyspace: Keyspace,
        /// The key's beginning, for people.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// More than becomes true at once.
    #[error(
        "a batch of {writes} writes and {bytes} bytes is too large: at most {MAX_BATCH_WRITES} writes and {MAX_BATCH_BYTES} bytes are committed at once"
    )]
    BatchTooLarge {
        /// Its writes.
        writes: usize,
        /// Bytes of its keys and values.
        bytes: usize,
    },
    /// A record that cannot be written as JSON: a mistake of this program.
    #[error("the record {keyspace} {key} cannot be written as JSON")]
    Encode {
        /// Where.
        keyspace: Keyspace,
        /// The key, for people.
        key: String,
        /// What serde says.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// The value is whole, but no record of this kind.
    #[error("the record {keyspace} {key} cannot be read; it was written by another version of the server")]
    Decode {
        /// Where.
        keyspace: Keyspace,
        /// The key, for people.
        key: String,
        /// What serde says.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// The bytes on the disk are not those that were written.
    #[error("the record {keyspace} {key} is damaged on the disk ({why})")]
    Damaged {
        /// Where.
        keyspace: Keyspace,
        /// The key, for people.
        key: String,
        /// How that was seen.
        why: &'static str,
    },
    /// Written by a newer server.
    #[error(
        "the record {keyspace} {key} has format {version}, and this server reads up to {known}: a newer server wrote it; start that one",
        known = super::envelope::VERSION
    )]
    NewerValue {
        /// Where.
        keyspace: Keyspace,
        /// The key, for people.
        key: String,
        /// Its format.
        version: u8,
    },
    /// A newer server laid the records out in another way.
    #[error(
        "the records have format {found}, and this server reads up to {known}: start handover {oldest_reader} or later"
    )]
    NewerFormat {
        /// The version of their format.
        found: u32,
        /// The newest version that is understood.
        known: u32,
        /// The oldest program that reads it.
        oldest_reader: String,
    },
    /// The queue of commits stayed full.
    #[error("the store has had too many changes waiting for {} seconds: the disk is slow or stuck; nothing was changed, try again", .0.as_secs())]
    Busy(std::time::Duration),
    /// The disk does not answer.
    #[error(
        "the store has not answered for {} seconds: the disk is stuck; whether the change was made is unknown", .0.as_secs()
    )]
    Unanswered(std::time::Duration),
    /// Commits would have waited too long.
    #[error("the snapshot of the store was given up after {} seconds, as changes wait meanwhile: the disk is slow; nothing was changed, try again", .0.as_secs())]
    SnapshotTooLong(std::time::Duration),
    /// No room.
    #[error(
        "the disk of the store is full, and the store takes no more changes: make room on it, then start the server again; what was confirmed is safe"
    )]
    DiskFull,
    /// The engine failed. Nothing goes on with it, as what it shows may not be what is on the disk.
    #[error(
        "the store failed ({0}) and takes no more changes: start the server again once the cause is gone; what was confirmed is safe"
    )]
    Broken(String),
}

/// What to do with a store that does not open. Follows the reason in the message.
const RESTORE: &str = "nothing was deleted; put a backup in its place with `handover server restore FILE --set-aside`, which keeps this folder beside it; without a backup look at it with `handover server fsck`; agents and their services run on meanwhile";

/// Why the store does not open. Nothing is deleted, ever.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be used.
    #[error("cannot {doing} {path}")]
    Folder {
        /// What was tried.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Somebody has it open.
    #[error(
        "the store {path} is in use by another process: is another server running on this folder? stop it first"
    )]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
    /// This process has opened a store before.
    #[error(
        "this process has opened a store already: the engine cannot be opened twice in one process; start a new one"
    )]
    OpenedBefore,
    /// The folder holds something else.
    #[error("{path} is no store of Handover: {why}; name an empty or new folder")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What is there.
        why: String,
    },
    /// A newer server laid its records out in another way.
    #[error(
        "the store {path} has format {found}, written by handover {written_by}, and this is handover {own}, which reads up to format {known}: start handover {oldest_reader} or later; the store was left as it is",
        own = env!("CARGO_PKG_VERSION")
    )]
    NewerFormat {
        /// The store's folder.
        path: PathBuf,
        /// The version of its format.
        found: u32,
        /// The newest version that is understood.
        known: u32,
        /// The oldest program that reads it.
        oldest_reader: String,
        /// The program that wrote it.
        written_by: String,
    },
    /// Commits that were confirmed are not in it.
    #[error(
        "the store {path} has lost changes that were confirmed: {confirmed} commits were, and it ends after {found}, so its files are damaged, or an older copy; {RESTORE}; if it is an older copy that you put there on purpose, remove {lock}"
    )]
    Lost {
        /// The store's folder.
        path: PathBuf,
        /// Where the number of confirmed commits is written down.
        lock: PathBuf,
        /// How many commits were confirmed.
        confirmed: u64,
        /// How many are there.
        found: u64,
    },
    /// No room.
    #[error(
        "the disk of the store {path} is full ({why}): make room on it, then start the server again; nothing was deleted, what was confirmed is safe"
    )]
    DiskFull {
        /// The store's folder.
        path: PathBuf,
        /// What the engine says.
        why: String,
    },
    /// A newer server wrote it.
    #[error(
        "the store {path} has format {found:?}, and this server reads {known:?}: a newer server wrote it; start that one, it was left as it is"
    )]
    Format {
        /// The store's folder.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What is understood.
        known: &'static str,
    },
    /// The engine refuses it.
    #[error("the store {path} cannot be read ({why}); {RESTORE}")]
    Unreadable {
        /// The store's folder.
        path: PathBuf,
        /// What the engine says.
        why: String,
    },
    /// A record in it is damaged or of a newer server.
    #[error("the store {path} cannot be used; {RESTORE}")]
    Record {
        /// The store's folder.
        path: PathBuf,
        /// Which record, and what is wrong with it.
        #[source]
        source: StoreError,
    },
}

/// A key as people can read it: text where it is text, the rest escaped; cut after 80 bytes.
pub(super) fn key_text(key: &[u8]) -> String {
    let mut text = key.iter().take(80).fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{}", byte.escape_ascii());
        text
    });
    if key.len() > 80 {
        text.push_str("...");
    }
    format!("\"{text}\"")
}
