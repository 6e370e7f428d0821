//! Files beneath a directory that is held open: whatever a path says, and whatever somebody moves about meanwhile,
//! nothing outside is reached (`openat2(2)`: RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS).

use crate::path::EntryPath;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
};
use std::{io, path::Path};

/// The path of the directory itself.
pub(crate) const HERE: &[u8] = b".";

/// Opens a directory by a path that is trusted. The last component may be a link only where `follow` says so.
pub(crate) fn open_root(path: &Path, follow: bool) -> io::Result<OwnedFd> {
    let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follow);
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Opens `path` beneath `root`.
pub(crate) fn open(root: impl AsFd, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    const RESOLVE: ResolveFlags =
        ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
    // EAGAIN: a rename somewhere on the way kept the kernel from being sure; openat2(2) says to try again.
    const TRIES: usize = 16;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        opened = rustix::fs::openat2(root.as_fd(), path, flags, mode, RESOLVE);
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    Ok(opened?)
}

/// Opens the directory `path` for reading.
pub(crate) fn open_directory(root: impl AsFd, path: &[u8]) -> io::Result<OwnedFd> {
    open(root, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// Opens the file `path` for reading; what has become a pipe meanwhile does not make it wait.
pub(crate) fn open_file(root: impl AsFd, path: &EntryPath) -> io::Result<OwnedFd> {
    open(root, path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
}

/// Makes the file `path`, which must not exist, for writing by its owner alone.
pub(crate) fn create_file(root: impl AsFd, path: &EntryPath) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    open(root, path.as_bytes(), flags, Mode::RUSR | Mode::WUSR)
}

/// Makes the directory `path`, which must not exist, and opens it.
pub(crate) fn create_directory(root: impl AsFd, path: &EntryPath) -> io::Result<OwnedFd> {
    let (directory, name) = path.split();
    let directory = open_directory(root, directory)?;
    rustix::fs::mkdirat(&directory, name, Mode::RWXU)?;
    open_directory(&directory, name)
}

/// Makes the symbolic link `path`, which must not exist.
pub(crate) fn create_link(root: impl AsFd, path: &EntryPath, target: &[u8]) -> io::Result<()> {
    let (directory, name) = path.split();
    let directory = open_directory(root, directory)?;
    Ok(rustix::fs::symlinkat(target, &directory, name)?)
}

/// Whether opening failed because there is nothing, or something of another kind, by that name.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn nothing_outside_is_opened_or_made() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        symlink("..", inner.join("up")).unwrap();
        symlink("../secret", inner.join("file")).unwrap();
        let root = open_root(&inner, false).unwrap();
        for path in ["up", "up/secret", "file", "../secret", "/etc/passwd"] {
            let opened = open(&root, path.as_bytes(), OFlags::RDONLY, Mode::empty());
            assert!(opened.is_err(), "{path} was opened");
        }
        let path = EntryPath::new(b"up/made").unwrap();
        assert!(create_file(&root, &path).is_err());
        assert!(create_directory(&root, &path).is_err());
        assert!(create_link(&root, &path, b"x").is_err());
        assert!(fs::symlink_metadata(outer.path().join("made")).is_err());
        assert!(open_root(&inner.join("up"), false).is_err());
        assert!(open_root(&inner.join("up"), true).is_ok());
    }

    #[test]
    fn what_exists_is_never_written_over() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "old").unwrap();
        let root = open_root(directory.path(), false).unwrap();
        let path = EntryPath::new(b"a").unwrap();
        assert_eq!(create_file(&root, &path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(directory.path().join("a")).unwrap(), "old");
    }
}
