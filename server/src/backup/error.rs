//! What can go wrong with a backup.

use crate::store::{OpenError, StoreError};
use std::{io, path::PathBuf};

/// Why a backup cannot be written, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The system refuses.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file stands where the backup is to go.
    #[error("{0} exists already: name another file, or replace it with --force")]
    Exists(PathBuf),
    /// The bytes cannot be read or written.
    #[error("the backup cannot be read or written")]
    Stream(#[source] io::Error),
    /// Not a backup.
    #[error("this is no backup of Handover: it does not begin like one")]
    NotABackup,
    /// Of a newer program.
    #[error(
        "the backup has format {found} ({what}), written by handover {program}, and this is handover {own}, which reads up to {known}: use that program",
        own = env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// Of what: the file, or the records in it.
        what: &'static str,
        /// Its version.
        found: u32,
        /// The newest that is read.
        known: u32,
        /// The program that wrote it.
        program: String,
    },
    /// Cut off.
    #[error("the backup is not whole: it ends in the middle, after {entries} entries; use another one")]
    Cut {
        /// Entries until there.
        entries: u64,
    },
    /// Changed.
    #[error("the backup is damaged: {why} (after {entries} entries); use another one")]
    Damaged {
        /// How that was seen.
        why: String,
        /// Entries until there.
        entries: u64,
    },
    /// The store fails.
    #[error("the store cannot be read or written")]
    Store(#[from] StoreError),
    /// The store's folder fails.
    #[error("the store's folder cannot be used")]
    Open(#[from] OpenError),
    /// Something is there.
    #[error(
        "{0} is there already: `--set-aside` keeps it beside its place and restores the backup; nothing was changed"
    )]
    Occupied(PathBuf),
    /// Another backup is being taken.
    #[error("another backup is being taken: try again when it has ended")]
    Busy,
    /// The server's disk has no room for the copy from which it is sent.
    #[error(
        "the server's disk is full: a backup needs as much room in {0} as the store has; nothing was changed"
    )]
    NoRoom(PathBuf),
    /// A task broke off.
    #[error("the work was interrupted: {0}")]
    Interrupted(String),
}

/// For `map_err`: `doing` something with `path` failed.
pub(super) fn failed(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.into();
    move |source| BackupError::Io { doing, path, source }
}
