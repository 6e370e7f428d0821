//! Why a bundle is not taken, not given or not there.

use handover_bundle::BundleError;
use handover_model::Digest;
use std::{io, path::PathBuf};

/// Why something with a bundle failed. Nothing but the upload in question is ever lost by it.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It declares more than this server takes.
    #[error("bundle {digest} declares {declared} for its {what}, this server takes at most {most}")]
    TooLarge {
        /// Which bundle.
        digest: Digest,
        /// Size of what: `archive` and `unpacked files` in bytes, `entries`.
        what: &'static str,
        /// What the descriptor says.
        declared: u64,
        /// The limit.
        most: u64,
    },
    /// More arrived than was declared.
    #[error(
        "the upload of bundle {digest} is longer than the {declared} bytes that it declares; it was thrown away"
    )]
    TooLong {
        /// Which bundle.
        digest: Digest,
        /// What the descriptor says.
        declared: u64,
    },
    /// Ended before all was there. What is there stays, to go on from.
    #[error(
        "the upload of bundle {digest} ended at {bytes} of {declared} bytes; push again to go on from there"
    )]
    Incomplete {
        /// Which bundle.
        digest: Digest,
        /// Bytes that are there.
        bytes: u64,
        /// What the descriptor says.
        declared: u64,
    },
    /// The data does not begin where the part ends.
    #[error(
        "bundle {digest} goes on at byte {expected}, not at {offset}; ask how much is there and go on from that"
    )]
    WrongOffset {
        /// Which bundle.
        digest: Digest,
        /// Where the caller wanted to go on.
        offset: u64,
        /// Where it goes on.
        expected: u64,
    },
    /// Somebody else is at it.
    #[error("bundle {0} is being uploaded by somebody else; wait until that has ended and try again")]
    Busy(Digest),
    /// It is there already.
    #[error("bundle {0} is complete already; there is nothing to upload")]
    Complete(Digest),
    /// It is not there.
    #[error("bundle {0} is not on this server; push its release again")]
    Missing(Digest),
    /// It is not what it declares, or holds what no bundle may hold.
    #[error("bundle {digest} was refused and its upload thrown away")]
    Refused {
        /// Which bundle.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: BundleError,
    },
    /// It would not leave enough room.
    #[error(
        "the server's disk has {free} bytes free, and {needed} are needed for bundle {digest} and the uploads that go on, beside {reserve} that are kept for the server's state; make room, or wait for the uploads, and push again"
    )]
    NoRoom {
        /// Which bundle.
        digest: Digest,
        /// Bytes that may still arrive.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// Bytes that stay free.
        reserve: u64,
    },
    /// No room.
    #[error("the server's disk is full (at {path}); make room and push again, what has arrived is kept")]
    DiskFull {
        /// The file that did not fit.
        path: PathBuf,
    },
    /// The disk fails.
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
    /// The thread that did the work ended without a result.
    #[error("the work on a bundle was interrupted: {0}")]
    Interrupted(String),
}

/// For `map_err`: `doing` something with `path` failed.
pub(super) fn failed(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BlobError {
    let path = path.into();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::DiskFull { path },
        _ => BlobError::Io { doing, path, source },
    }
}
