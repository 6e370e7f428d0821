//! What lies in a directory, as the entries of a bundle in their order.

use crate::{
    Limits, PackError, Refusal,
    beneath::{self, HERE},
    entry::{Entry, EntryKind},
    path::EntryPath,
    shape::{Misfit, Shape},
};
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{AtFlags, Dir, FileType, Stat},
};

/// What a file or directory was when it was looked at; another value later tells that somebody wrote to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    place: (i128, i128),
    size: i128,
    modified: (i128, i128),
    changed: (i128, i128),
}

impl Identity {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            place: (stat.st_dev.into(), stat.st_ino.into()),
            size: stat.st_size.into(),
            modified: (stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            changed: (stat.st_ctime.into(), stat.st_ctime_nsec.into()),
        }
    }
}

/// Which modes files may have on the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modes {
    /// Any; only whether a file is executable counts.
    Any,
    /// Exactly those that unpacking gives.
    Exact,
}

/// An entry with what it was on the disk.
pub(crate) struct Found {
    pub(crate) entry: Entry,
    pub(crate) identity: Identity,
}

/// All entries beneath `root` in their order, checked to make a bundle. The directory itself is none of them; what
/// it was comes second.
pub(crate) fn walk(
    root: BorrowedFd<'_>,
    limits: &Limits,
    modes: Modes,
) -> Result<(Vec<Found>, Identity), PackError> {
    let stat = rustix::fs::fstat(root).map_err(|error| PackError::read("look at", HERE, error))?;
    check_mode(HERE, &stat, &EntryKind::Directory, modes)?;
    let mut walk = Walk { root, limits, modes, found: Vec::new(), unpacked: 0 };
    let mut pending = vec![HERE.to_vec()];
    while let Some(directory) = pending.pop() {
        walk.directory(&directory, &mut pending)?;
    }
    let mut found = walk.found;
    found.sort_unstable_by(|a, b| a.entry.path.cmp(&b.entry.path));
    let mut shape = Shape::new(limits);
    for Found { entry, .. } in &found {
        shape.add(entry).map_err(|misfit| match misfit {
            Misfit::Refused(refusal) => PackError::refused(entry.path.as_bytes(), refusal),
            Misfit::TooManyNames => PackError::TooLarge { what: "bytes of names", most: limits.names },
        })?;
    }
    shape.check_links().map_err(|(path, refusal)| PackError::refused(path.as_bytes(), refusal))?;
    Ok((found, Identity::of(&stat)))
}

struct Walk<'w> {
    root: BorrowedFd<'w>,
    limits: &'w Limits,
    modes: Modes,
    found: Vec<Found>,
    unpacked: u64,
}

impl Walk<'_> {
    /// Takes what lies in one directory; its directories become pending.
    fn directory(&mut self, path: &[u8], pending: &mut Vec<Vec<u8>>) -> Result<(), PackError> {
        let directory = beneath::open_directory(self.root, path)
            .map_err(|error| PackError::read("open directory", path, error))?;
        let names =
            Dir::read_from(&directory).map_err(|error| PackError::read("read directory", path, error))?;
        for name in names {
            let name = name.map_err(|error| PackError::read("read directory", path, error))?;
            let name = name.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let whole = if path == HERE { name.to_vec() } else { [path, b"/", name].concat() };
            let found = self.entry(directory.as_fd(), name, &whole)?;
            if found.entry.kind == EntryKind::Directory {
                pending.push(whole);
            }
            self.count(&found.entry)?;
            self.found.push(found);
        }
        Ok(())
    }

    fn entry(&self, directory: BorrowedFd<'_>, name: &[u8], whole: &[u8]) -> Result<Found, PackError> {
        let refused = |refusal| PackError::refused(whole, refusal);
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| PackError::read("look at", whole, error))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => EntryKind::Directory,
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                EntryKind::File { size, executable: stat.st_mode & 0o111 != 0 }
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())
                    .map_err(|error| PackError::read("read link", whole, error))?;
                EntryKind::Link { target: target.as_bytes().into() }
            }
            FileType::BlockDevice | FileType::CharacterDevice => return Err(refused(Refusal::Device)),
            FileType::Fifo => return Err(refused(Refusal::Fifo)),
            FileType::Socket => return Err(refused(Refusal::Socket)),
            FileType::Unknown => return Err(refused(Refusal::UnknownType(0))),
        };
        check_mode(whole, &stat, &kind, self.modes)?;
        let path = EntryPath::new(whole).map_err(refused)?;
        Ok(Found { entry: Entry { path, kind }, identity: Identity::of(&stat) })
    }

    fn count(&mut self, entry: &Entry) -> Result<(), PackError> {
        if self.found.len() as u64 >= self.limits.entries {
            return Err(PackError::TooLarge {
                what: "files, directories and links",
                most: self.limits.entries,
            });
        }
        self.unpacked = self.unpacked.saturating_add(entry.size());
        if self.unpacked > self.limits.unpacked {
            return Err(PackError::TooLarge { what: "bytes of files", most: self.limits.unpacked });
        }
        Ok(())
    }
}

fn check_mode(path: &[u8], stat: &Stat, kind: &EntryKind, modes: Modes) -> Result<(), PackError> {
    let mode = stat.st_mode & 0o7777;
    match (modes, kind) {
        // The mode of a link means nothing.
        (_, EntryKind::Link { .. }) => Ok(()),
        (Modes::Exact, _) if mode != kind.mode() => Err(PackError::refused(path, Refusal::Mode(mode))),
        // On a directory setgid and sticky only say how others share it. On a file they mean that the program counts
        // on them, and it would run without.
        (Modes::Any, EntryKind::File { .. }) if mode & 0o7000 != 0 => {
            Err(PackError::refused(path, Refusal::SpecialMode(mode)))
        }
        _ => Ok(()),
    }
}
