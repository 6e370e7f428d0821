//! From an archive to a release's directory: all of it, or nothing.

use crate::{
    BundleDescriptor, BundleError, Limits, beneath,
    entry::{Entry, EntryKind},
    pack::verify_tree,
    path::EntryPath,
    scan::{Sink, scan, verify},
    staging::{Staging, move_aside},
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::Mode,
    io::Errno,
};
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

/// Up to so many entries are synced each by itself; of more, their whole file system at once, which waits for
/// strangers' writes too but not tens of thousands of times.
const MOST_SYNCED: u64 = 512;
/// Bytes that an entry takes on the disk beside its content, at most; for the question whether there is room.
const OVERHEAD: u64 = 4096;

/// Unpacks an archive into `releases_dir/<digest in hexadecimal>` and gives that path; `releases_dir` is made if
/// it is missing. The default [`Limits`] hold.
///
/// The whole archive is verified before anything is written, and the whole directory after. It gets its name only
/// when it is complete and on the disk, so whatever bears the name is whole. Where a whole one exists already
/// nothing is done, and the archive is not read; where a broken one exists it is moved aside and replaced.
///
/// Files get the time of unpacking, not the date 0 of the archive: web servers make validators of time and size,
/// and clients would keep what changed but kept its length.
///
/// # Errors
/// As [`verify`]; [`BundleError::NoSpace`] and [`BundleError::DiskFull`] where there is no room;
/// [`BundleError::Busy`] where another thread unpacks the same bundle; [`BundleError::Io`]. Nothing of the bundle is
/// left behind then, and nothing is ever written outside.
pub fn unpack(
    archive: impl Read + Seek,
    bundle: &BundleDescriptor,
    releases_dir: &Path,
) -> Result<PathBuf, BundleError> {
    unpack_within(archive, bundle, &Limits::default(), releases_dir)
}

/// [`unpack`] with other limits.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_within(
    mut archive: impl Read + Seek,
    bundle: &BundleDescriptor,
    limits: &Limits,
    releases_dir: &Path,
) -> Result<PathBuf, BundleError> {
    limits.check(bundle)?;
    let name = bundle.digest.hex();
    let path = releases_dir.join(&name);
    if is_whole(&path, bundle)? {
        return Ok(path);
    }
    let releases = open_releases(releases_dir)?;
    check_space(&releases, bundle, releases_dir)?;

    rewind(&mut archive)?;
    verify(&mut archive, bundle, limits)?;
    rewind(&mut archive)?;

    let staging = Staging::create(releases.as_fd(), releases_dir, bundle.digest)?;
    let synced = bundle.entries <= MOST_SYNCED;
    let mut writer = Writer::new(staging.directory(), staging.path(), synced);
    scan(&mut archive, bundle, limits, &mut writer)?;
    writer.finish()?;
    verify_tree(staging.path(), bundle)?;

    if !is_whole(&path, bundle)? {
        let renamed = move_aside(releases.as_fd(), &name).and_then(|()| staging.name_it(&name));
        match renamed {
            Ok(()) => {}
            // Somebody else was faster; is_whole below says whether with the same.
            Err(Errno::EXIST | Errno::NOTEMPTY) if is_whole(&path, bundle)? => {}
            Err(error) => return Err(BundleError::io("rename to", path, error)),
        }
    }
    rustix::fs::fsync(&releases).map_err(|error| BundleError::io("sync", releases_dir, error))?;
    Ok(path)
}

/// Whether the release is there already, whole. A missing and a broken one are no error.
fn is_whole(path: &Path, bundle: &BundleDescriptor) -> Result<bool, BundleError> {
    match verify_tree(path, bundle) {
        Ok(()) => Ok(true),
        Err(BundleError::BrokenTree { .. }) => Ok(false),
        Err(BundleError::Io { source, .. }) if beneath::is_gone(&source) => Ok(false),
        Err(error) => Err(error),
    }
}

fn open_releases(path: &Path) -> Result<OwnedFd, BundleError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o755);
    builder.create(path).map_err(|error| BundleError::io("make directory", path, error))?;
    beneath::open_root(path, true).map_err(|error| BundleError::io("open directory", path, error))
}

/// Bytes that a bundle takes on a disk once it is unpacked, at most.
#[must_use]
pub fn room_for(bundle: &BundleDescriptor) -> u64 {
    bundle.unpacked.saturating_add(bundle.entries.saturating_mul(OVERHEAD))
}

fn check_space(releases: &OwnedFd, bundle: &BundleDescriptor, path: &Path) -> Result<(), BundleError> {
    let space = rustix::fs::fstatvfs(releases).map_err(|error| BundleError::io("look at", path, error))?;
    let needed = room_for(bundle);
    let available = space.f_bavail.saturating_mul(space.f_frsize);
    // Some file systems count nothing and say that they have 0 blocks.
    match space.f_blocks > 0 && available < needed {
        true => Err(BundleError::NoSpace { path: path.to_owned(), needed, available }),
        false => Ok(()),
    }
}

fn rewind(archive: &mut impl Seek) -> Result<(), BundleError> {
    archive.seek(SeekFrom::Start(0)).map(drop).map_err(BundleError::Read)
}

/// Writes what a scan finds beneath a directory.
struct Writer<'w> {
    root: BorrowedFd<'w>,
    root_path: &'w Path,
    /// Whether each file and directory is synced by itself.
    synced: bool,
    /// The file whose content comes.
    open: Option<OpenFile>,
    /// The directories so far, where each is synced by itself.
    directories: Vec<EntryPath>,
}

struct OpenFile {
    file: File,
    path: EntryPath,
    mode: Mode,
}

impl<'w> Writer<'w> {
    fn new(root: BorrowedFd<'w>, root_path: &'w Path, synced: bool) -> Self {
        Self { root, root_path, synced, open: None, directories: Vec::new() }
    }

    fn error(&self, action: &'static str, path: &EntryPath, error: impl Into<io::Error>) -> BundleError {
        BundleError::io(action, self.root_path.join(OsStr::from_bytes(path.as_bytes())), error)
    }

    /// Brings everything to the disk.
    fn finish(self) -> Result<(), BundleError> {
        let whole = |error| BundleError::io("sync", self.root_path, error);
        rustix::fs::fchmod(self.root, Mode::from_raw_mode(EntryKind::Directory.mode())).map_err(whole)?;
        if !self.synced {
            return rustix::fs::syncfs(self.root).map_err(whole);
        }
        for path in &self.directories {
            let directory = beneath::open_directory(self.root, path.as_bytes());
            let directory = directory.map_err(|error| self.error("open directory", path, error))?;
            rustix::fs::fsync(&directory).map_err(|error| self.error("sync", path, error))?;
        }
        rustix::fs::fsync(self.root).map_err(whole)
    }
}

impl Sink for Writer<'_> {
    fn start(&mut self, entry: &Entry) -> Result<(), BundleError> {
        let (path, mode) = (&entry.path, Mode::from_raw_mode(entry.kind.mode()));
        match &entry.kind {
            EntryKind::Directory => {
                let directory = beneath::create_directory(self.root, path);
                let directory = directory.map_err(|error| self.error("make directory", path, error))?;
                // The mode that a directory is made with goes through the umask.
                rustix::fs::fchmod(&directory, mode)
                    .map_err(|error| self.error("set the mode of", path, error))?;
                if self.synced {
                    self.directories.push(path.clone());
                }
            }
            EntryKind::Link { target } => {
                beneath::create_link(self.root, path, target)
                    .map_err(|error| self.error("make link", path, error))?;
            }
            EntryKind::File { .. } => {
                let file = beneath::create_file(self.root, path);
                let file = file.map_err(|error| self.error("make file", path, error))?;
                self.open = Some(OpenFile { file: File::from(file), path: path.clone(), mode });
            }
        }
        Ok(())
    }

    fn content(&mut self, piece: &[u8]) -> Result<(), BundleError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        match open.file.write_all(piece) {
            Ok(()) => Ok(()),
            Err(error) => {
                let path = open.path.clone();
                Err(self.error("write", &path, error))
            }
        }
    }

    fn end(&mut self) -> Result<(), BundleError> {
        let Some(OpenFile { file, path, mode }) = self.open.take() else { return Ok(()) };
        rustix::fs::fchmod(&file, mode).map_err(|error| self.error("set the mode of", &path, error))?;
        if self.synced {
            file.sync_all().map_err(|error| self.error("sync", &path, error))?;
        }
        Ok(())
    }
}
