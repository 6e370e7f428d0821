//! What can be wrong with a tree, an archive, or the disk.

use handover_model::Digest;
use std::{io, path::PathBuf};

/// Why an entry cannot be part of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No name at all.
    #[error("its name is empty")]
    EmptyName,
    /// A path from the root of the file system.
    #[error("its name is absolute; names must lead from the bundle's own directory")]
    Absolute,
    /// Two slashes in a row, or a slash at the end of something that is no directory.
    #[error("its name has an empty component")]
    EmptyComponent,
    /// A component `.`.
    #[error("its name has a component \".\"")]
    Dot,
    /// A component `..`.
    #[error("its name has a component \"..\", which could lead out of the bundle's directory")]
    DotDot,
    /// A zero byte.
    #[error("its name or target contains a zero byte")]
    ZeroByte,
    /// A path longer than Linux takes.
    #[error("its name or target is longer than 4095 bytes")]
    PathTooLong,
    /// A component longer than file systems take.
    #[error("its name has a component longer than 255 bytes")]
    ComponentTooLong,
    /// Too many directories in each other.
    #[error("it lies more than 128 directories deep")]
    TooDeep,
    /// The same path a second time.
    #[error("its name appears twice")]
    Duplicate,
    /// Not behind the entry before it.
    #[error("it is not in the order of names, so the bundle was not made by handover")]
    OutOfOrder,
    /// Its directory is no entry before it.
    #[error("the directory that it lies in is missing from the bundle")]
    NoDirectory,
    /// What should be its directory is a file.
    #[error("it lies beneath something that is a file")]
    BeneathFile,
    /// What should be its directory is a link.
    #[error("it lies beneath something that is a symbolic link")]
    BeneathLink,
    /// A link to nothing.
    #[error("it is a symbolic link without a target")]
    LinkEmpty,
    /// A link that depends on where the release lies.
    #[error("it is a symbolic link to an absolute path; links must be relative")]
    LinkAbsolute,
    /// A link out of the tree, by itself or by way of others.
    #[error("it is a symbolic link that leads out of the bundle's directory")]
    LinkLeaves,
    /// Links that lead to each other without end.
    #[error("it is a symbolic link that leads through more than 40 others, or in a circle")]
    LinkLoop,
    /// Following all links takes too long.
    #[error("the bundle's symbolic links lead through each other too often to be followed")]
    LinksTangled,
    /// A second name of a file.
    #[error("it is a hard link; the bundle was not made by handover")]
    HardLink,
    /// A device node.
    #[error("it is a device; a release holds only files, directories and symbolic links")]
    Device,
    /// A named pipe.
    #[error("it is a named pipe; a release holds only files, directories and symbolic links")]
    Fifo,
    /// A socket.
    #[error("it is a socket; a release holds only files, directories and symbolic links")]
    Socket,
    /// A sparse file of GNU tar.
    #[error("it is stored as a sparse file; the bundle was not made by handover")]
    Sparse,
    /// A header of pax, which could change what other headers say.
    #[error("it has a pax header; the bundle was not made by handover")]
    Pax,
    /// Something else.
    #[error("it is of unknown type {0:#04x}")]
    UnknownType(u8),
    /// A setuid, setgid or sticky bit.
    #[error("its mode {0:04o} has a setuid, setgid or sticky bit, which a release cannot carry")]
    SpecialMode(u32),
    /// On disk: a mode that unpacking does not give.
    #[error("its mode is {0:04o}, which was changed after unpacking")]
    Mode(u32),
    /// A header that differs from what `pack` writes.
    #[error("its header is not canonical ({0}); the bundle was not made by handover")]
    NotCanonical(&'static str),
    /// Bytes that should be zero.
    #[error("the padding behind its content is not zero")]
    DirtyPadding,
}

/// Why an archive was not taken, or not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It declares to be more than is allowed.
    #[error("the bundle declares {declared} {what}, more than the {most} that are allowed")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much it declares.
        declared: u64,
        /// How much is allowed.
        most: u64,
    },
    /// Its names and link targets are too long, all together.
    #[error("the bundle has more than the {most} bytes of names and link targets that are allowed")]
    TooManyNames {
        /// How many bytes are allowed.
        most: u64,
    },
    /// It holds more, or less, than it declares.
    #[error("the bundle holds {found} {what}, but declares {declared}")]
    Undeclared {
        /// Of what.
        what: &'static str,
        /// How much it declares.
        declared: u64,
        /// How much it holds: at least, where it is more.
        found: u64,
    },
    /// The archive could not be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// It goes on behind its declared size.
    #[error("the archive is longer than its declared {declared} bytes")]
    TooLong {
        /// Its declared size.
        declared: u64,
    },
    /// It ends before its declared size.
    #[error("the archive ends after {found} of {declared} bytes; transfer it again")]
    TooShort {
        /// Its declared size.
        declared: u64,
        /// Where it ends.
        found: u64,
    },
    /// It is not the archive that it should be.
    #[error(
        "the archive has digest {found} instead of {declared}: it was damaged on the way; transfer it again"
    )]
    WrongDigest {
        /// What it should be.
        declared: Digest,
        /// What it is.
        found: Digest,
    },
    /// Its compression is damaged, cut off, or needs more memory than `pack` lets it.
    #[error("the archive cannot be decompressed")]
    Compression(#[source] io::Error),
    /// The tar stream is damaged.
    #[error("the archive's tar stream {0}")]
    Malformed(&'static str),
    /// An entry that a bundle cannot have.
    #[error("the bundle's entry {path} is refused: {refusal}")]
    Refused {
        /// Its path, in quotes.
        path: String,
        /// Why.
        refusal: Refusal,
    },
    /// The tar stream is not the one that was declared.
    #[error("the bundle's tree has digest {found} instead of {declared}")]
    WrongTree {
        /// What it should be.
        declared: Digest,
        /// What it is.
        found: Digest,
    },
    /// An unpacked tree that is not, or not any more, what its bundle holds.
    #[error("{} is not what its bundle holds", path.display())]
    BrokenTree {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<PackError>,
    },
    /// There is too little room, seen before anything was written.
    #[error("{} has {available} bytes left, and the bundle needs {needed}; free some, or move the state to a larger disk", path.display())]
    NoSpace {
        /// Where it would be unpacked.
        path: PathBuf,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are left.
        available: u64,
    },
    /// The disk, or a quota, got full.
    #[error("the disk is full: cannot {action} {}; what was unpacked so far has been removed", path.display())]
    DiskFull {
        /// What was being done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// The file system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// The same bundle is just being unpacked by somebody else.
    #[error("{} is being unpacked already; try again when that is done", path.display())]
    Busy {
        /// The temporary directory.
        path: PathBuf,
    },
}

impl BundleError {
    pub(crate) fn refused(path: &[u8], refusal: Refusal) -> Self {
        Self::Refused { path: shown(path), refusal }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.into(), source.into());
        match is_full(&source) {
            true => Self::DiskFull { action, path, source },
            false => Self::Io { action, path, source },
        }
    }

    /// Whether it comes from this machine and says nothing about the archive.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::DiskFull { .. } | Self::NoSpace { .. } | Self::Busy { .. })
    }
}

/// Why a directory could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Something that a bundle cannot have.
    #[error("{path} cannot be part of a release: {refusal}")]
    Refused {
        /// Its path beneath the directory, in quotes.
        path: String,
        /// Why.
        refusal: Refusal,
    },
    /// More than a bundle may have.
    #[error("the directory has more than the {most} {what} that a release may have")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much is allowed.
        most: u64,
    },
    /// A file or directory was not left alone.
    #[error("{path} changed while it was being packed; pack again when nothing writes there")]
    Changed {
        /// Its path beneath the directory, in quotes.
        path: String,
    },
    /// The tree is another one than was declared.
    #[error("the tree has digest {found} instead of {declared}")]
    WrongTree {
        /// What it should be.
        declared: Digest,
        /// What it is.
        found: Digest,
    },
    /// Something could not be read.
    #[error("cannot {action} {path}")]
    Read {
        /// What was being done.
        action: &'static str,
        /// The directory, or the path beneath it, in quotes.
        path: String,
        /// The system's own words.
        source: io::Error,
    },
    /// The archive could not be written because the disk, or a quota, is full.
    #[error("the disk is full: the archive cannot be written")]
    DiskFull(#[source] io::Error),
    /// The archive could not be written.
    #[error("the archive cannot be written")]
    Write(#[source] io::Error),
}

impl PackError {
    pub(crate) fn refused(path: &[u8], refusal: Refusal) -> Self {
        Self::Refused { path: shown(path), refusal }
    }

    pub(crate) fn changed(path: &[u8]) -> Self {
        Self::Changed { path: shown(path) }
    }

    pub(crate) fn read(action: &'static str, path: &[u8], source: impl Into<io::Error>) -> Self {
        Self::Read { action, path: shown(path), source: source.into() }
    }

    pub(crate) fn write(source: io::Error) -> Self {
        if is_full(&source) { Self::DiskFull(source) } else { Self::Write(source) }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A path for people: in quotes, with what a terminal would obey escaped, cut where it is long.
pub(crate) fn shown(path: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(&path[..path.len().min(4 * LONGEST)]);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}", format!("{}...", &text[..end])),
        None => format!("{text:?}"),
    }
}
