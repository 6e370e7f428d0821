//! From a directory to its bundle, and from an unpacked directory to the digest of its tree.

use crate::{
    BundleDescriptor, BundleError, Limits, PackError,
    beneath::{self, HERE},
    digesting::DigestingWriter,
    entry::{END, EntryKind, padding},
    walk::{Found, Identity, Modes, walk},
};
use handover_model::Digest;
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::AtFlags,
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

/// Slower levels hardly make programs smaller.
const LEVEL: i32 = 9;
/// Binary logarithm of the window of compression: 8 MiB, which is what unpacking needs of memory for it. Written
/// down so that another version of zstd cannot choose another.
pub(crate) const WINDOW_LOG: u32 = 23;
/// Content is read and written in pieces of this size; always whole, so that the compressor's input is cut the same
/// way each time.
pub(crate) const PIECE: usize = 128 * 1024;

/// How much a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Bytes of all regular files together: what [`pack`] will tell as progress at its end.
    pub unpacked: u64,
    /// Files, directories and links.
    pub entries: u64,
}

/// How much `dir` holds, without reading its files. What could not be packed for its kind or place is refused here.
///
/// # Errors
/// As [`pack`], but for what only shows while files are read.
pub fn measure(dir: &Path, limits: &Limits) -> Result<Size, PackError> {
    let root = open_root(dir)?;
    let (found, _) = walk(root.as_fd(), limits, Modes::Any)?;
    Ok(size_of(&found))
}

/// Packs `dir` into `out` with the default [`Limits`]. Equal trees give equal bytes, whenever and wherever.
/// `progress` is told how many bytes of files have been packed so far.
///
/// # Errors
/// [`PackError`], which names the file: for what a bundle cannot hold, what is too large, what changes meanwhile,
/// what cannot be read; or when `out` cannot be written. What has been written to `out` is then of no use.
pub fn pack(
    dir: &Path,
    out: &mut impl Write,
    progress: &mut dyn FnMut(u64),
) -> Result<BundleDescriptor, PackError> {
    pack_within(dir, &Limits::default(), out, progress)
}

/// [`pack`] with other limits.
///
/// # Errors
/// As [`pack`].
pub fn pack_within(
    dir: &Path,
    limits: &Limits,
    out: &mut impl Write,
    progress: &mut dyn FnMut(u64),
) -> Result<BundleDescriptor, PackError> {
    let root = open_root(dir)?;
    let (found, identity) = walk(root.as_fd(), limits, Modes::Any)?;
    let size = size_of(&found);
    let mut archive = DigestingWriter::new(out, limits.archive);
    let tree =
        compressed(&mut archive, |encoder| write_tree(root.as_fd(), &found, identity, encoder, progress));
    if archive.overflowed() {
        return Err(PackError::TooLarge { what: "bytes of archive", most: limits.archive });
    }
    let tree = tree?;
    let (digest, length) = archive.finish();
    Ok(BundleDescriptor { digest, size: length, tree, unpacked: size.unpacked, entries: size.entries })
}

/// Checks that a directory holds exactly what the bundle does: every name, kind, mode and byte.
///
/// # Errors
/// [`BundleError::BrokenTree`] with what differs first; [`BundleError::Io`] where it does not exist or is no
/// directory of its own.
pub fn verify_tree(dir: &Path, bundle: &BundleDescriptor) -> Result<(), BundleError> {
    let root =
        beneath::open_root(dir, false).map_err(|error| BundleError::io("open directory", dir, error))?;
    let limits = Limits { unpacked: bundle.unpacked, entries: bundle.entries, ..Limits::default() };
    let tree = walk(root.as_fd(), &limits, Modes::Exact)
        .and_then(|(found, identity)| {
            write_tree(root.as_fd(), &found, identity, &mut io::sink(), &mut |_| {})
        })
        .and_then(|tree| match tree == bundle.tree {
            true => Ok(()),
            false => Err(PackError::WrongTree { declared: bundle.tree, found: tree }),
        });
    tree.map_err(|source| match source {
        // The machine is short of something: that says nothing about the tree.
        PackError::Read { action, source, .. } if is_shortage(&source) => {
            BundleError::io(action, dir, source)
        }
        source => BundleError::BrokenTree { path: dir.to_owned(), source: Box::new(source) },
    })
}

fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}

fn open_root(dir: &Path) -> Result<rustix::fd::OwnedFd, PackError> {
    use std::os::unix::ffi::OsStrExt as _;
    beneath::open_root(dir, true)
        .map_err(|error| PackError::read("open directory", dir.as_os_str().as_bytes(), error))
}

fn size_of(found: &[Found]) -> Size {
    Size { unpacked: found.iter().map(|found| found.entry.size()).sum(), entries: found.len() as u64 }
}

/// Lets `write` write into a zstd frame.
pub(crate) fn compressed<T>(
    out: &mut impl Write,
    write: impl FnOnce(&mut dyn Write) -> Result<T, PackError>,
) -> Result<T, PackError> {
    let mut encoder = zstd::Encoder::new(out, LEVEL).map_err(PackError::write)?;
    encoder.window_log(WINDOW_LOG).map_err(PackError::write)?;
    encoder.include_checksum(true).map_err(PackError::write)?;
    let written = write(&mut encoder)?;
    encoder.finish().and_then(Write::flush).map_err(PackError::write)?;
    Ok(written)
}

/// Writes the tar stream of a tree and gives its digest.
fn write_tree(
    root: BorrowedFd<'_>,
    found: &[Found],
    identity: Identity,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Digest, PackError> {
    let mut out = DigestingWriter::new(out, u64::MAX);
    let mut packed = 0;
    for found in found {
        out.write_all(&found.entry.header()).map_err(PackError::write)?;
        if let EntryKind::File { size, .. } = found.entry.kind {
            let mut counted = |bytes| {
                packed += bytes;
                progress(packed);
            };
            write_file(root, found, size, &mut out, &mut counted)?;
        }
    }
    out.write_all(&END).map_err(PackError::write)?;
    // A file that appeared meanwhile is not in the archive; its directory tells.
    for found in found.iter().filter(|found| found.entry.kind == EntryKind::Directory) {
        check_unchanged(root, found.entry.path.as_bytes(), found.identity)?;
    }
    check_unchanged(root, HERE, identity)?;
    Ok(out.finish().0)
}

fn check_unchanged(root: BorrowedFd<'_>, path: &[u8], identity: Identity) -> Result<(), PackError> {
    match rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if Identity::of(&stat) == identity => Ok(()),
        _ => Err(PackError::changed(path)),
    }
}

fn write_file(
    root: BorrowedFd<'_>,
    found: &Found,
    size: u64,
    out: &mut impl Write,
    progress: &mut dyn FnMut(u64),
) -> Result<(), PackError> {
    let path = found.entry.path.as_bytes();
    let file =
        beneath::open_file(root, &found.entry.path).map_err(|error| match beneath::is_gone(&error) {
            true => PackError::changed(path),
            false => PackError::read("open", path, error),
        })?;
    let unchanged = |file: &File| match rustix::fs::fstat(file) {
        Ok(stat) if Identity::of(&stat) == found.identity => Ok(()),
        _ => Err(PackError::changed(path)),
    };
    let mut file = File::from(file);
    unchanged(&file)?;
    let mut buffer = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE))];
    let mut left = size;
    while left > 0 {
        let piece = buffer.len().min(usize::try_from(left).unwrap_or(PIECE));
        let piece = &mut buffer[..piece];
        file.read_exact(piece).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => PackError::changed(path),
            _ => PackError::read("read", path, error),
        })?;
        out.write_all(piece).map_err(PackError::write)?;
        left -= piece.len() as u64;
        progress(piece.len() as u64);
    }
    out.write_all(padding(size)).map_err(PackError::write)?;
    unchanged(&file)
}
