//! Bundles on the server's disk: content-addressed files, and uploads that can be resumed.
//!
//! ```text
//! <data>/bundles/sha256/<hex>    whole and verified, never changed
//! <data>/uploads/<hex>.part      what has arrived of an upload
//! ```
//!
//! A bundle appears under its digest only once it is verified and on the disk. A bad upload is thrown away and
//! changes nothing. All I/O happens on blocking threads.

mod error;
mod files;
mod reading;
mod upload;

pub use error::BlobError;
pub use reading::{MAX_CHUNK_BYTES, Reading};
pub use upload::Upload;

use files::Files;
use handover_bundle::{FilesLimits, Found, Limits, read_files};
use handover_model::{BundleDescriptor, Digest};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, SystemTime},
};

/// Uploads that nobody went on with for so long are removed at the start.
pub const STALE_UPLOAD: Duration = Duration::from_secs(7 * 24 * 3600);
/// A bundle that arrived or was asked for so recently is not pruned: the release that needs it may be on its way.
pub const PRUNE_GRACE: Duration = Duration::from_secs(3600);

/// Bytes of the disk that uploads leave free: the store must always be able to write. Of a disk of less than 2 GiB an
/// eighth.
pub const RESERVE: u64 = 256 << 20;
/// The part of a small disk that uploads leave free: one in so many.
const RESERVED_PART: u64 = 8;

/// The bundles of a server. A clone is the same store.
#[derive(Clone, Debug)]
pub struct Bundles {
    files: Arc<Files>,
    limits: Limits,
    /// Who is uploading what, and its size in bytes: an entry that can be upgraded is taken.
    claims: Arc<Mutex<BTreeMap<Digest, Weak<u64>>>>,
}

/// What is there of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes that are there: where an upload goes on.
    pub bytes: u64,
    /// Whether it is whole and verified.
    pub complete: bool,
}

impl Bundles {
    /// The bundles in the folder `data`, which is made where it is missing. Removes uploads that are older than
    /// [`STALE_UPLOAD`]. No bundle larger than `limits` is taken.
    ///
    /// # Errors
    /// When the folders cannot be made or read.
    pub async fn open(data: &Path, limits: Limits) -> Result<Self, BlobError> {
        let files = Files::new(data);
        let files = blocking(move || {
            files.make_folders()?;
            files.remove_stale_uploads(STALE_UPLOAD, SystemTime::now())?;
            Ok(files)
        })
        .await?;
        Ok(Self { files: Arc::new(files), limits, claims: Arc::default() })
    }

    /// What is there of the bundle `digest`. Asking for one that is complete keeps it from being pruned for
    /// [`PRUNE_GRACE`].
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn received(&self, digest: Digest) -> Result<Received, BlobError> {
        let files = Arc::clone(&self.files);
        blocking(move || files.received(&digest)).await
    }

    /// Begins or goes on with an upload. It is the only one of its bundle until it is dropped.
    ///
    /// # Errors
    /// [`BlobError::Busy`] while somebody else uploads the same bundle; [`BlobError::TooLarge`] where the descriptor
    /// declares more than this server takes; [`BlobError::NoRoom`] where the disk has no room for it, for the other
    /// uploads and for [`RESERVE`]; [`BlobError::Complete`] where the bundle is there.
    pub async fn upload(&self, descriptor: &BundleDescriptor) -> Result<Upload, BlobError> {
        let digest = descriptor.digest;
        for (what, declared, most) in [
            ("archive", descriptor.size, self.limits.archive),
            ("unpacked files", descriptor.unpacked, self.limits.unpacked),
            ("entries", descriptor.entries, self.limits.entries),
        ] {
            if declared > most {
                return Err(BlobError::TooLarge { digest, what, declared, most });
            }
        }
        let claim = self.claim(digest, descriptor.size)?;
        let files = Arc::clone(&self.files);
        let (room, there) = blocking(move || Ok((files.room()?, files.received(&digest)?.bytes))).await?;
        // What has arrived of the others is counted twice, which errs to the safe side.
        let needed = self.promised().saturating_sub(there);
        let (free, reserve) = (room.free, RESERVE.min(room.size / RESERVED_PART));
        if free < needed.saturating_add(reserve) {
            return Err(BlobError::NoRoom { digest, needed, free, reserve });
        }
        Upload::begin(Arc::clone(&self.files), self.limits, descriptor.clone(), claim).await
    }

    /// Bytes of all uploads that go on.
    fn promised(&self) -> u64 {
        let claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.values().filter_map(Weak::upgrade).fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    fn claim(&self, digest: Digest, bytes: u64) -> Result<Arc<u64>, BlobError> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.retain(|_, claim| claim.strong_count() > 0);
        if claims.contains_key(&digest) {
            return Err(BlobError::Busy(digest));
        }
        let claim = Arc::new(bytes);
        claims.insert(digest, Arc::downgrade(&claim));
        Ok(claim)
    }

    /// A complete bundle, to be read from the byte `offset` on.
    ///
    /// # Errors
    /// [`BlobError::Missing`] where it is not there, [`BlobError::WrongOffset`] where `offset` lies behind its end.
    pub async fn read(&self, digest: Digest, offset: u64) -> Result<Reading, BlobError> {
        Reading::begin(Arc::clone(&self.files), digest, offset).await
    }

    /// The regular files that lie directly in some folders of a complete bundle.
    ///
    /// # Errors
    /// [`BlobError::Missing`] where it is not there; [`BlobError::Refused`] where it holds more than `most` of them, or is not
    /// what it was when it came.
    pub async fn files(
        &self,
        bundle: BundleDescriptor,
        folders: Vec<String>,
        most: FilesLimits,
    ) -> Result<Found, BlobError> {
        let files = Arc::clone(&self.files);
        blocking(move || {
            let digest = bundle.digest;
            let path = files.bundle(&digest);
            let archive = match std::fs::File::open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(BlobError::Missing(digest));
                }
                opened => opened.map_err(error::failed("open", &path))?,
            };
            let archive = std::io::BufReader::new(archive);
            read_files(archive, &bundle, &Limits::default(), &folders, most)
                .map_err(|source| BlobError::Refused { digest, source })
        })
        .await
    }

    /// Removes every bundle that is not in `keep`, and says which. What arrived or was asked for within
    /// [`PRUNE_GRACE`] stays. Who reads a removed bundle reads it to its end.
    ///
    /// # Errors
    /// When the disk fails; what was removed until then is removed.
    pub async fn prune(&self, keep: BTreeSet<Digest>) -> Result<BTreeSet<Digest>, BlobError> {
        let files = Arc::clone(&self.files);
        blocking(move || files.prune(&keep, PRUNE_GRACE, SystemTime::now())).await
    }
}

/// Whether a bundle lies in the folder `data` as it should: why not, or `None` where all is well. Reads it whole. Blocks.
///
/// # Errors
/// When the disk fails.
pub fn fault(data: &Path, bundle: &BundleDescriptor) -> Result<Option<String>, BlobError> {
    let path = Files::new(data).bundle(&bundle.digest);
    let mut file = match std::fs::File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Some("is missing".to_owned()));
        }
        other => other.map_err(error::failed("open", &path))?,
    };
    let mut hash = sha2::Sha256::default();
    let size = std::io::copy(&mut file, &mut hash).map_err(error::failed("read", &path))?;
    let digest: [u8; 32] = sha2::Digest::finalize(hash).into();
    Ok(if size != bundle.size {
        Some(format!("has {size} bytes instead of {}", bundle.size))
    } else if Digest::from_bytes(digest) != bundle.digest {
        Some("has other content than its digest says".to_owned())
    } else {
        None
    })
}

/// Runs `work` on a thread that may block.
async fn blocking<T, F>(work: F) -> Result<T, BlobError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, BlobError> + Send + 'static,
{
    // A join error is a panic in `work`, or the runtime going down.
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(BlobError::Interrupted(error.to_string())))
}
