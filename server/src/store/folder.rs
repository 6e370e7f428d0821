//! The store's folder: made, locked, synced, moved aside.

use super::OpenError;
use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// A folder that no other process opens as a store while this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Whether a store was made here before: then an empty one is a damaged one.
    pub(super) made: bool,
    /// The lock stands beside the folder, so that it outlives a move. Closing the file ends it, also after a kill.
    /// What is in it says that a store was made.
    lock: File,
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |source| OpenError::Folder { doing, path: path.to_owned(), source }
}

impl Folder {
    /// Takes the folder, which is made where it is missing, readable by its owner only.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let path = std::path::absolute(path).map_err(failed("find", path))?;
        let lock = lock(&path)?;
        let existed = path.exists();
        if !existed {
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("create", &path))?;
            sync_folder_of(&path)?;
        }
        refuse_stranger(&path)?;
        let marked = lock.metadata().map_err(failed("look at the lock of", &path))?.len() > 0;
        // Where the folder is gone, somebody moved it aside on purpose.
        Ok(Self { path, made: existed && marked, lock })
    }

    /// Remembers, beside the folder, that there is a store in it.
    pub(super) fn mark_made(&mut self) -> Result<(), OpenError> {
        let mark = self.lock.set_len(0).and_then(|()| self.lock.write_all_at(b"a store was made here\n", 0));
        mark.and_then(|()| self.lock.sync_all()).map_err(failed("write to the lock of", &self.path))?;
        sync_folder_of(&self.path)
    }

    /// The engine's data file, to be synced: the engine writes back with `sync_file_range` alone, which a power cut
    /// undoes.
    pub(super) fn data_file(&self) -> Result<File, OpenError> {
        let path = self.path.join("db");
        File::open(&path).map_err(failed("open", &path))
    }

    /// Syncs all that the engine made at its start: its configuration, snapshots, the folder.
    pub(super) fn sync_all(&self) -> Result<(), OpenError> {
        let entries = std::fs::read_dir(&self.path).map_err(failed("read", &self.path))?;
        for entry in entries {
            let path = entry.map_err(failed("read", &self.path))?.path();
            File::open(&path).and_then(|file| file.sync_all()).map_err(failed("sync", &path))?;
        }
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(failed("sync", &self.path))
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    if let Some(parent) = name.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed("create", parent))?;
    }
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(failed("open", &name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed("lock", &name)(error)),
    }
}

/// The engine would make its files in any folder: not among somebody else's.
fn refuse_stranger(path: &Path) -> Result<(), OpenError> {
    let mut entries = std::fs::read_dir(path).map_err(failed("read", path))?;
    let empty = entries.next().is_none();
    if !empty && !path.join("conf").exists() {
        let why = "it has files of something else in it".to_owned();
        return Err(OpenError::Foreign { path: path.to_owned(), why });
    }
    Ok(())
}

fn sync_folder_of(path: &Path) -> Result<(), OpenError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed("sync", parent))
}

/// Moves a store that does not open out of the way, beside its place, and says where it is now: `<path>.aside-1`, or
/// the next number that is free. Nothing is deleted; the next start makes an empty store.
///
/// # Errors
/// When a process has the store open, or the system refuses.
pub fn set_aside(path: &Path) -> Result<PathBuf, OpenError> {
    let path = std::path::absolute(path).map_err(failed("find", path))?;
    let _lock = lock(&path)?;
    let free = (1_u32..).map(|n| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".aside-{n}"));
        PathBuf::from(name)
    });
    let Some(aside) = free.into_iter().find(|aside| !aside.exists()) else {
        return Err(failed("find a name beside", &path)(io::ErrorKind::AlreadyExists.into()));
    };
    std::fs::rename(&path, &aside).map_err(failed("move aside", &path))?;
    sync_folder_of(&path)?;
    Ok(aside)
}
