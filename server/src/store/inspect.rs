//! Looking at a store without changing anything, damaged or not.
//!
//! The engine writes as soon as it opens its files (it mends the end of its log, and takes a snapshot): it is given a
//! copy of them.

use super::{
    Keyspace, OpenError, StoreError, envelope, folder::Folder, sled_store::Engine, writer::engine_error,
};
use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// A store that is being looked at. No server starts on it meanwhile.
pub struct Inspection {
    engine: Engine,
    folder: Folder,
    /// Removed with this value.
    _copy: tempfile::TempDir,
}

impl Inspection {
    /// Copies the store in the folder `path` to the system's folder for temporary files, and opens the copy. Blocks,
    /// and needs as much room there as the store has.
    ///
    /// # Errors
    /// See [`OpenError`]: where a server has it open, where it is none, where the engine cannot read it at all.
    pub fn of(path: &Path) -> Result<Self, OpenError> {
        let folder = Folder::look_at(path)?;
        let copying = |source| OpenError::Folder {
            doing: "copy into a temporary folder (TMPDIR chooses which) the store",
            path: folder.path.clone(),
            source,
        };
        let copy = tempfile::Builder::new().prefix("handover-fsck-").tempdir().map_err(copying)?;
        let files = copy.path().join("store");
        copy_folder(&folder.path, &files).map_err(copying)?;
        let engine = Engine::open(&folder, &files)?;
        Ok(Self { engine, folder, _copy: copy })
    }

    /// Whether all commits are there that were confirmed.
    ///
    /// # Errors
    /// [`OpenError::Lost`].
    pub fn check_commits(&self) -> Result<(), OpenError> {
        self.folder.check_commits(self.engine.commits)
    }

    /// Shows each entry, in the order of keyspaces and keys; damaged ones as errors.
    ///
    /// # Errors
    /// When the engine cannot go on; what was shown until then was read.
    pub fn visit(
        &self,
        mut visit: impl FnMut(Keyspace, &[u8], Result<&[u8], StoreError>),
    ) -> Result<(), StoreError> {
        let visited = catch_unwind(AssertUnwindSafe(|| {
            for keyspace in Keyspace::ALL.iter().copied() {
                for entry in &self.engine.trees[keyspace as usize] {
                    let (key, sealed) = entry.map_err(|error| engine_error(&error))?;
                    visit(keyspace, &key, envelope::open(keyspace, &key, &sealed));
                }
            }
            Ok(())
        }));
        visited.unwrap_or_else(|_| Err(StoreError::Broken("the engine panicked".to_owned())))
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
