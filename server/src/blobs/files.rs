//! Where bundles and uploads lie, and what is done with whole files. Blocks.

use super::{BlobError, Received, error::failed};
use handover_model::Digest;
use std::{
    collections::BTreeSet,
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

#[derive(Debug)]
pub(super) struct Files {
    bundles: PathBuf,
    uploads: PathBuf,
}

/// A disk, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) size: u64,
    pub(super) free: u64,
}

impl Files {
    pub(super) fn new(data: &Path) -> Self {
        Self { bundles: data.join("bundles").join("sha256"), uploads: data.join("uploads") }
    }

    pub(super) fn bundle(&self, digest: &Digest) -> PathBuf {
        self.bundles.join(digest.hex())
    }

    pub(super) fn part(&self, digest: &Digest) -> PathBuf {
        self.uploads.join(format!("{}.part", digest.hex()))
    }

    pub(super) fn make_folders(&self) -> Result<(), BlobError> {
        for folder in [&self.bundles, &self.uploads] {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("create", folder))?;
            for made in folder.ancestors().take(3) {
                sync_folder(made)?;
            }
        }
        Ok(())
    }

    /// The disk of the uploads.
    pub(super) fn room(&self) -> Result<Room, BlobError> {
        let found = nix::sys::statvfs::statvfs(&self.uploads).map_err(io::Error::from);
        let found = found.map_err(failed("look at the disk of", &self.uploads))?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
        Ok(Room { size: bytes(found.blocks()), free: bytes(found.blocks_available()) })
    }

    pub(super) fn received(&self, digest: &Digest) -> Result<Received, BlobError> {
        let bundle = self.bundle(digest);
        if let Some(bytes) = length(&bundle)? {
            touch(&bundle)?;
            return Ok(Received { bytes, complete: true });
        }
        let bytes = length(&self.part(digest))?.unwrap_or(0);
        Ok(Received { bytes, complete: false })
    }

    /// The verified part becomes the bundle. `part` is open on it and is synced first, so that a bundle that is there
    /// after a power cut is there with its content.
    pub(super) fn keep(&self, digest: &Digest, part: &File) -> Result<(), BlobError> {
        let (from, to) = (self.part(digest), self.bundle(digest));
        part.sync_all().map_err(failed("sync", &from))?;
        std::fs::rename(&from, &to).map_err(failed("move into place", &to))?;
        sync_folder(&self.bundles)?;
        sync_folder(&self.uploads)
    }

    pub(super) fn discard(&self, digest: &Digest) -> Result<(), BlobError> {
        remove(&self.part(digest))
    }

    /// Removes parts that were last written to more than `age` before `now`.
    pub(super) fn remove_stale_uploads(&self, age: Duration, now: SystemTime) -> Result<(), BlobError> {
        for path in entries(&self.uploads)? {
            if path.extension().is_some_and(|extension| extension == "part") && older(&path, age, now)? {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes bundles that are not in `keep` and were not touched within `grace` before `now`.
    pub(super) fn prune(
        &self,
        keep: &BTreeSet<Digest>,
        grace: Duration,
        now: SystemTime,
    ) -> Result<BTreeSet<Digest>, BlobError> {
        let mut removed = BTreeSet::new();
        for path in entries(&self.bundles)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // What is not named by a digest was not put there by us.
            let Ok(digest) = format!("sha256:{name}").parse::<Digest>() else { continue };
            if !keep.contains(&digest) && older(&path, grace, now)? {
                remove(&path)?;
                removed.insert(digest);
            }
        }
        if !removed.is_empty() {
            sync_folder(&self.bundles)?;
        }
        Ok(removed)
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, BlobError> {
    let entries = std::fs::read_dir(folder).map_err(failed("read", folder))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed("read", folder))).collect()
}

fn length(path: &Path) -> Result<Option<u64>, BlobError> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("look at", path)(error)),
    }
}

/// Whether it was last written to or touched more than `age` before `now`; no, where it is gone.
fn older(path: &Path, age: Duration, now: SystemTime) -> Result<bool, BlobError> {
    match std::fs::metadata(path).and_then(|metadata| metadata.modified()) {
        // A time in the future is a clock that was set back: not older.
        Ok(modified) => Ok(now.duration_since(modified).is_ok_and(|since| since > age)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("look at", path)(error)),
    }
}

fn touch(path: &Path) -> Result<(), BlobError> {
    File::open(path).and_then(|file| file.set_modified(SystemTime::now())).map_err(failed("touch", path))
}

fn remove(path: &Path) -> Result<(), BlobError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> Result<(), BlobError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}
