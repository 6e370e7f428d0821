//! Entries and the only way in which each is written into a tar stream.

use crate::{Refusal, limits::MAX_PATH, path::EntryPath};
use tar::{EntryType, Header};

/// Length of a block of a tar stream in bytes.
pub(crate) const BLOCK: usize = 512;
/// What ends a tar stream.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Longest name that fits into a header.
const SHORT: usize = 100;

/// One file, directory or link of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: EntryPath,
    pub(crate) kind: EntryKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Directory,
    File { size: u64, executable: bool },
    Link { target: Box<[u8]> },
}

impl EntryKind {
    pub(crate) fn mode(&self) -> u32 {
        match self {
            Self::Directory | Self::File { executable: true, .. } => 0o755,
            Self::File { executable: false, .. } => 0o644,
            Self::Link { .. } => 0o777,
        }
    }
}

impl Entry {
    /// Bytes of content behind the header, without padding.
    pub(crate) fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } => size,
            EntryKind::Directory | EntryKind::Link { .. } => 0,
        }
    }

    /// The blocks before its content.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut name = self.path.as_bytes().to_vec();
        let (kind, target) = match &self.kind {
            EntryKind::Directory => {
                name.push(b'/');
                (EntryType::Directory, [].as_slice())
            }
            EntryKind::File { .. } => (EntryType::Regular, [].as_slice()),
            EntryKind::Link { target } => (EntryType::Symlink, &**target),
        };
        let mut blocks = Vec::with_capacity(BLOCK);
        for (text, kind) in [(name.as_slice(), EntryType::GNULongName), (target, EntryType::GNULongLink)] {
            if text.len() > SHORT {
                let length = text.len() as u64 + 1;
                blocks.extend(block(b"././@LongLink", b"", kind, 0o644, length));
                blocks.extend(text);
                blocks.push(0);
                blocks.extend(padding(length));
            }
        }
        blocks.extend(block(&name, target, kind, self.kind.mode(), self.size()));
        blocks
    }
}

fn block(name: &[u8], target: &[u8], kind: EntryType, mode: u32, size: u64) -> [u8; BLOCK] {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_entry_type(kind);
    let fields = header.as_old_mut();
    for (field, text) in [(&mut fields.name, name), (&mut fields.linkname, target)] {
        let length = text.len().min(SHORT);
        field[..length].copy_from_slice(&text[..length]);
    }
    header.set_cksum();
    *header.as_bytes()
}

/// The zeros behind `size` bytes of content.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let over = (size % BLOCK as u64) as usize;
    &ZEROS[..(BLOCK - over) % BLOCK]
}

/// What the blocks before an entry's content said, before it is known to be an entry.
#[derive(Default)]
pub(crate) struct RawHeader {
    /// All blocks as they came.
    pub(crate) bytes: Vec<u8>,
    /// The name from a long name's own entry.
    pub(crate) long_name: Option<Vec<u8>>,
    /// The target from a long link's own entry.
    pub(crate) long_target: Option<Vec<u8>>,
}

impl RawHeader {
    /// The name, for messages.
    pub(crate) fn name(&self, header: &Header) -> Vec<u8> {
        self.long_name.clone().unwrap_or_else(|| until_zero(&header.as_old().name).to_vec())
    }

    /// The entry that the blocks describe.
    pub(crate) fn entry(&self, header: &Header) -> Result<Entry, Refusal> {
        let entry_type = header.entry_type();
        match entry_type {
            EntryType::Regular | EntryType::Directory | EntryType::Symlink => {}
            EntryType::Link => return Err(Refusal::HardLink),
            EntryType::Char | EntryType::Block => return Err(Refusal::Device),
            EntryType::Fifo => return Err(Refusal::Fifo),
            EntryType::GNUSparse => return Err(Refusal::Sparse),
            EntryType::XHeader | EntryType::XGlobalHeader => return Err(Refusal::Pax),
            other => return Err(Refusal::UnknownType(other.as_byte())),
        }
        let mode = header.mode().map_err(|_| Refusal::NotCanonical("mode"))?;
        if mode & 0o7000 != 0 {
            return Err(Refusal::SpecialMode(mode));
        }
        let size = header.entry_size().map_err(|_| Refusal::NotCanonical("size"))?;
        let name = self.name(header);
        let path = match entry_type {
            EntryType::Directory => name.strip_suffix(b"/").unwrap_or(&name),
            _ => &name,
        };
        let path = EntryPath::new(path)?;
        let kind = match entry_type {
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => {
                let short = || until_zero(&header.as_old().linkname).to_vec();
                let target = self.long_target.clone().unwrap_or_else(short).into();
                EntryKind::Link { target }
            }
            _ => EntryKind::File { size, executable: mode & 0o111 != 0 },
        };
        Ok(Entry { path, kind })
    }

    /// Checks that the blocks are those that `entry` is written with.
    pub(crate) fn check_canonical(&self, entry: &Entry) -> Result<(), Refusal> {
        let canonical = entry.header();
        if self.bytes == canonical {
            return Ok(());
        }
        // GNU's fields of the header by their offsets; tar.h, and "Basic Tar Format" in GNU tar's manual.
        const FIELDS: &[(&str, std::ops::Range<usize>)] = &[
            ("mode", 100..108),
            ("owner", 108..116),
            ("group", 116..124),
            ("size", 124..136),
            ("time", 136..148),
            ("type", 156..157),
            ("format", 257..265),
            ("owner's name", 265..297),
            ("group's name", 297..329),
            ("device", 329..345),
            ("extension", 345..512),
            ("target", 157..257),
            ("name", 0..100),
            ("checksum", 148..156),
        ];
        let last = |bytes: &[u8]| bytes[bytes.len().saturating_sub(BLOCK)..].to_vec();
        let (found, expected) = (last(&self.bytes), last(&canonical));
        let differs =
            |range: &std::ops::Range<usize>| found.get(range.clone()) != expected.get(range.clone());
        let field = FIELDS.iter().find(|(_, range)| differs(range));
        Err(Refusal::NotCanonical(field.map_or("long name", |(name, _)| name)))
    }
}

/// Checks the content of a long name's own entry and takes its zero byte off.
pub(crate) fn long_text(mut content: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    match content.pop() {
        Some(0) if !content.contains(&0) => Ok(content),
        _ => Err(Refusal::ZeroByte),
    }
}

/// Longest content of a long name's own entry: a path, the slash of a directory, a zero byte.
pub(crate) const MAX_LONG: u64 = MAX_PATH as u64 + 2;

fn until_zero(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(entry: &Entry) -> (Vec<u8>, EntryType, u64, Option<Vec<u8>>) {
        let mut bytes = entry.header();
        bytes.extend(vec![0; entry.size() as usize]);
        bytes.extend(padding(entry.size()));
        bytes.extend(END);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let read = archive.entries().unwrap().next().unwrap().unwrap();
        let target = read.link_name_bytes().map(std::borrow::Cow::into_owned);
        (read.path_bytes().into_owned(), read.header().entry_type(), read.size(), target)
    }

    #[test]
    fn other_readers_of_tar_understand_short_and_long_entries() {
        for length in [1, 98, 99, 100, 101, 200, 255] {
            let name = vec![b'n'; length];
            let path = EntryPath::new(&name).unwrap();
            let directory = Entry { path: path.clone(), kind: EntryKind::Directory };
            let slashed = [name.as_slice(), b"/"].concat();
            assert_eq!(read_back(&directory), (slashed, EntryType::Directory, 0, None));
            let target: Vec<u8> = vec![b't'; length];
            let kind = EntryKind::Link { target: target.clone().into() };
            let link = Entry { path: path.clone(), kind };
            assert_eq!(read_back(&link), (name.clone(), EntryType::Symlink, 0, Some(target)));
            let file = Entry { path, kind: EntryKind::File { size: 513, executable: true } };
            assert_eq!(read_back(&file), (name, EntryType::Regular, 513, None));
        }
    }

    #[test]
    fn content_is_padded_to_whole_blocks() {
        for (size, zeros) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(padding(size).len(), zeros, "behind {size}");
        }
    }
}
