//! The store's folder: made, locked, synced, moved aside, replaced.

use super::OpenError;
use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// What is in the lock once a store was made.
const MADE: &str = "a store was made here\n";

/// A folder that no other process opens as a store while this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Whether a store was made here before: then an empty one is a damaged one.
    pub(super) made: bool,
    /// The lock stands beside the folder, so that it outlives a move. Closing the file ends it, also after a kill.
    mark: Mark,
}

/// What stands in the lock: that a store was made, and how many commits were confirmed. A store that has fewer is
/// damaged. Written in place and never synced by itself: after a power cut it may say less than is true, never more.
#[derive(Debug)]
pub(super) struct Mark {
    lock: File,
}

impl Mark {
    fn is_made(&self) -> io::Result<bool> {
        Ok(self.lock.metadata()?.len() > 0)
    }

    fn make(&self, commits: u64) -> io::Result<()> {
        // Not cut first: on a full disk what is there can be written over, and nothing new.
        self.lock.write_all_at(MADE.as_bytes(), 0)?;
        self.confirm(commits)?;
        self.lock.sync_all()
    }

    /// Writes down that so many commits are durable.
    pub(super) fn confirm(&self, commits: u64) -> io::Result<()> {
        self.lock.write_all_at(format!("{commits:020} commits\n").as_bytes(), MADE.len() as u64)
    }

    /// The number that is written down; 0 where none is, as in what the first servers made.
    fn confirmed(&self) -> u64 {
        let mut text = [0; 20];
        let read = self.lock.read_exact_at(&mut text, MADE.len() as u64);
        read.ok().and_then(|()| std::str::from_utf8(&text).ok()?.parse().ok()).unwrap_or(0)
    }
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
        let mark = Mark { lock };
        let marked = mark.is_made().map_err(failed("look at the lock of", &path))?;
        // Where the folder is gone, somebody moved it aside on purpose.
        Ok(Self { path, made: existed && marked, mark })
    }

    /// Takes a folder that must be there, to look at it only: nothing is made, not even a lock.
    pub(super) fn look_at(path: &Path) -> Result<Self, OpenError> {
        let path = std::path::absolute(path).map_err(failed("find", path))?;
        let empty = std::fs::read_dir(&path).map_err(failed("read", &path))?.next().is_none();
        if empty {
            return Err(OpenError::Foreign { path, why: "it is empty".to_owned() });
        }
        refuse_stranger(&path)?;
        let name = lock_of(&path);
        // A store that came without its lock is locked by itself.
        let at = if name.exists() { &name } else { &path };
        let mark = Mark { lock: locked(File::open(at).map_err(failed("open", at))?, &path)? };
        let made = name.exists() && mark.is_made().map_err(failed("look at the lock of", &path))?;
        Ok(Self { path, made, mark })
    }

    /// Remembers, beside the folder, that there is a store in it with so many commits.
    pub(super) fn mark_made(&mut self, commits: u64) -> Result<(), OpenError> {
        self.mark.make(commits).map_err(failed("write to the lock of", &self.path))?;
        self.made = true;
        sync_folder_of(&self.path)
    }

    /// Fails where commits were confirmed that are not among the `found` ones: the engine takes a data file that is
    /// cut, or damaged near its end, for a shorter one.
    pub(super) fn check_commits(&self, found: u64) -> Result<(), OpenError> {
        let confirmed = if self.made { self.mark.confirmed() } else { 0 };
        if found < confirmed {
            let (path, lock) = (self.path.clone(), lock_of(&self.path));
            return Err(OpenError::Lost { path, lock, confirmed, found });
        }
        Ok(())
    }

    /// The mark, to be moved on by whoever commits.
    pub(super) fn mark(&self) -> Result<Mark, OpenError> {
        let lock = self.mark.lock.try_clone().map_err(failed("use the lock of", &self.path))?;
        Ok(Mark { lock })
    }

    /// The engine's data file, to be synced: the engine writes back with `sync_file_range` alone, which a power cut
    /// undoes.
    pub(super) fn data_file(&self) -> Result<File, OpenError> {
        let path = self.path.join("db");
        // Also written to: room is allocated by it.
        OpenOptions::new().read(true).write(true).open(&path).map_err(failed("open", &path))
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

fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let name = lock_of(path);
    if let Some(parent) = name.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed("create", parent))?;
    }
    let file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(failed("open", &name))?;
    locked(file, path)
}

fn locked(file: File, path: &Path) -> Result<File, OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed("lock", path)(error)),
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
    move_aside(&path)
}

/// Moves any folder out of the way, beside its place, and says where it is now: `<path>.aside-1` or the next number.
///
/// # Errors
/// When the system refuses.
pub fn move_aside(path: &Path) -> Result<PathBuf, OpenError> {
    let aside = free_name(path)?;
    std::fs::rename(path, &aside).map_err(failed("move aside", path))?;
    sync_folder_of(path)?;
    Ok(aside)
}

/// The place of a store that is being put there anew. No server starts on it while this value lives.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    mark: Mark,
}

impl Place {
    /// Takes the place. What is there stays there.
    ///
    /// # Errors
    /// When a process has the store open, or the system refuses.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        let path = std::path::absolute(path).map_err(failed("find", path))?;
        let mark = Mark { lock: lock(&path)? };
        Ok(Self { path, mark })
    }

    /// Whether something is there: a store, or anything else that is not an empty folder.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn is_taken(&self) -> Result<bool, OpenError> {
        match std::fs::read_dir(&self.path) {
            Ok(mut entries) => Ok(entries.next().is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("read", &self.path)(error)),
        }
    }

    /// Puts the folder `new` here, in one step where the file system can, so that at no moment a server would find
    /// nothing and begin anew. Says where the store that was here is now.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn put(&self, new: &Path) -> Result<Option<PathBuf>, OpenError> {
        // What was confirmed belongs to the store that goes.
        self.mark.make(0).map_err(failed("write to the lock of", &self.path))?;
        if !self.is_taken()? {
            // An empty folder gives way.
            std::fs::rename(new, &self.path).map_err(failed("move into place", &self.path))?;
            sync_folder_of(&self.path)?;
            return Ok(None);
        }
        let aside = free_name(&self.path)?;
        exchange(new, &self.path, &aside)?;
        sync_folder_of(&self.path)?;
        Ok(Some(aside))
    }
}

fn exchange(new: &Path, place: &Path, aside: &Path) -> Result<(), OpenError> {
    use nix::{
        errno::Errno,
        fcntl::{AT_FDCWD, RenameFlags, renameat2},
    };
    match renameat2(AT_FDCWD, new, AT_FDCWD, place, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => std::fs::rename(new, aside).map_err(failed("move aside", place)),
        // Some file systems cannot.
        Err(Errno::EINVAL | Errno::ENOSYS) => std::fs::rename(place, aside)
            .and_then(|()| std::fs::rename(new, place))
            .map_err(failed("move into place", place)),
        Err(error) => Err(failed("move into place", place)(error.into())),
    }
}

/// The first `<path>.aside-N` that is free.
fn free_name(path: &Path) -> Result<PathBuf, OpenError> {
    let named = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".aside-{n}"));
        PathBuf::from(name)
    };
    let free = (1..).map(named).find(|aside| !aside.exists());
    free.ok_or_else(|| failed("find a name beside", path)(io::ErrorKind::AlreadyExists.into()))
}
