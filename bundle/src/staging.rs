//! Directories in which bundles are unpacked before they get their name, and what dead runs leave of them.

use crate::{BundleError, beneath};
use handover_model::Digest;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, FlockOperation, Mode},
    io::Errno,
};
use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// How the name of a directory begins in which a bundle is being unpacked.
const UNPACKING: &str = ".unpacking-";
/// How the name of a directory begins that was a release and got broken.
const BROKEN: &str = ".broken-";

/// A directory in which a bundle is being unpacked: `.unpacking-<digest>-<pid>` beside the releases. It is removed
/// when it goes out of scope without having got its name. The lock on it tells a living run from a dead one,
/// because process numbers are used again.
pub(crate) struct Staging<'r> {
    releases: BorrowedFd<'r>,
    path: PathBuf,
    name: String,
    directory: OwnedFd,
    named: bool,
}

impl<'r> Staging<'r> {
    /// Makes the directory, empty; what a dead run left under its name is removed.
    pub(crate) fn create(
        releases: BorrowedFd<'r>,
        parent: &Path,
        bundle: Digest,
    ) -> Result<Self, BundleError> {
        // A sweep can take the directory away before it is locked, or a leftover can be in the way: then once more.
        const TRIES: usize = 8;
        let name = format!("{UNPACKING}{}-{}", bundle.hex(), std::process::id());
        let path = parent.join(&name);
        for _ in 0..TRIES {
            match rustix::fs::mkdirat(releases, &name, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => {
                    let Some(_held) = abandoned(releases, &name) else {
                        return Err(BundleError::Busy { path });
                    };
                    remove(&path).map_err(|error| BundleError::io("remove", &path, error))?;
                    continue;
                }
                Err(error) => return Err(BundleError::io("make directory", &path, error)),
            }
            let directory = match beneath::open_directory(releases, name.as_bytes()) {
                Err(error) if beneath::is_gone(&error) => continue,
                opened => opened.map_err(|error| BundleError::io("open directory", &path, error))?,
            };
            if lock(&directory) && is_same(releases, &name, &directory) {
                return Ok(Self { releases, path, name, directory, named: false });
            }
        }
        Err(BundleError::Busy { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Gives the directory its name, which nothing may have; what it holds must have been synced.
    pub(crate) fn name_it(mut self, name: &str) -> Result<(), Errno> {
        rustix::fs::renameat(self.releases, &self.name, self.releases, name)?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.named {
            // Nobody is left to tell; the next sweep tries again.
            let _ = remove(&self.path);
        }
    }
}

/// Moves a broken release out of the way, to where a sweep finds it; processes that run from it keep their files.
pub(crate) fn move_aside(releases: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    const TRIES: u32 = 1000;
    for number in 0..TRIES {
        let aside = format!("{BROKEN}{name}-{number}");
        if rustix::fs::statat(releases, &aside, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            continue;
        }
        match rustix::fs::renameat(releases, name, releases, &aside) {
            // Nothing to move is as good as moved.
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR | Errno::ISDIR) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EXIST)
}

/// Removes what dead runs left in `releases_dir`: half unpacked bundles, and broken releases that were moved aside.
/// What a living run is unpacking stays. Gives how many were removed; a directory that does not exist has none.
///
/// # Errors
/// [`BundleError::Io`] for the first that cannot be removed; the others are tried nevertheless.
pub fn sweep_temporary(releases_dir: &Path) -> Result<usize, BundleError> {
    let releases = match beneath::open_root(releases_dir, true) {
        Ok(releases) => releases,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(BundleError::io("open directory", releases_dir, error)),
    };
    let unreadable = |error| BundleError::io("read directory", releases_dir, error);
    let mut removed = 0;
    let mut failure = None;
    for entry in fs::read_dir(releases_dir).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(_held) = temporary(releases.as_fd(), &name) else { continue };
        let path = releases_dir.join(&name);
        match remove(&path) {
            Ok(()) => removed += 1,
            Err(error) => failure = failure.or(Some(BundleError::io("remove", path, error))),
        }
    }
    failure.map_or(Ok(removed), Err)
}

/// What nobody needs any more, to be removed while this value lives: it holds the lock of the directory, if it is one. Without
/// that a run that has just made the directory could lock it in the meantime, and lose its files.
struct Abandoned(#[expect(dead_code, reason = "kept for its lock")] Option<OwnedFd>);

fn temporary(releases: BorrowedFd<'_>, name: &OsStr) -> Option<Abandoned> {
    let begins = |start: &str| name.as_bytes().starts_with(start.as_bytes());
    if begins(BROKEN) {
        return Some(Abandoned(None));
    }
    if begins(UNPACKING) { abandoned(releases, name) } else { None }
}

/// Takes the lock of a temporary directory that nobody holds. What is no directory was never locked.
fn abandoned(releases: BorrowedFd<'_>, name: impl AsRef<OsStr>) -> Option<Abandoned> {
    match beneath::open_directory(releases, name.as_ref().as_bytes()) {
        Ok(directory) => lock(&directory).then_some(Abandoned(Some(directory))),
        Err(error) => beneath::is_gone(&error).then_some(Abandoned(None)),
    }
}

fn lock(directory: &OwnedFd) -> bool {
    rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive).is_ok()
}

fn is_same(releases: BorrowedFd<'_>, name: &str, directory: &OwnedFd) -> bool {
    let named = rustix::fs::statat(releases, name, AtFlags::SYMLINK_NOFOLLOW);
    let open = rustix::fs::fstat(directory);
    matches!((named, open), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

/// Removes a directory with all that is in it, or a file; links in it are not followed.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_removed_as_a_leftover_cannot_be_taken_by_the_run_that_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let releases = beneath::open_root(folder.path(), true).unwrap();
        // A run has made its directory and not locked it yet; another one takes it for a leftover.
        let name = format!("{UNPACKING}a-1");
        fs::create_dir(folder.path().join(&name)).unwrap();
        let made = beneath::open_directory(releases.as_fd(), name.as_bytes()).unwrap();
        let held = abandoned(releases.as_fd(), &name).unwrap();
        assert!(!lock(&made), "the first run would unpack into what is being removed");
        assert!(abandoned(releases.as_fd(), &name).is_none(), "two would remove it");
        drop(held);
        assert!(lock(&made));
    }
}
