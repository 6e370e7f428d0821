//! An archive from its first to its last byte: every rule checked, nothing trusted, nothing kept but names.

use crate::{
    BundleDescriptor, BundleError, Limits, Refusal,
    digesting::{DigestingReader, ReadFailure},
    entry::{BLOCK, Entry, MAX_LONG, RawHeader, long_text, padding},
    pack::{PIECE, WINDOW_LOG},
    shape::{Misfit, Shape},
};
use std::io::{BufRead, Read};
use tar::{EntryType, Header};

/// Takes what a scan finds, in order: each entry, then its content in pieces, then its end.
pub(crate) trait Sink {
    fn start(&mut self, entry: &Entry) -> Result<(), BundleError>;
    fn content(&mut self, piece: &[u8]) -> Result<(), BundleError>;
    fn end(&mut self) -> Result<(), BundleError>;
}

/// Wants nothing.
struct Nothing;

impl Sink for Nothing {
    fn start(&mut self, _: &Entry) -> Result<(), BundleError> {
        Ok(())
    }

    fn content(&mut self, _: &[u8]) -> Result<(), BundleError> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), BundleError> {
        Ok(())
    }
}

/// Checks a whole archive while reading it once, without writing anything: that it is what its descriptor says, and
/// that it is a bundle as [`pack`](crate::pack) makes them. Memory is bounded by `limits` (its names, and 8 MiB for
/// decompression); what decompresses to more than declared is given up at the first byte over.
///
/// # Errors
/// A damaged archive is named as such ([`BundleError::TooShort`], [`BundleError::TooLong`],
/// [`BundleError::WrongDigest`]) before anything that is wrong inside it: transferring it again helps. The rest
/// says what in the bundle is not acceptable.
pub fn verify(mut archive: impl Read, bundle: &BundleDescriptor, limits: &Limits) -> Result<(), BundleError> {
    scan(&mut archive, bundle, limits, &mut Nothing)
}

/// [`verify`] that hands what it finds to `sink`, before the whole is known to be good.
pub(crate) fn scan(
    archive: &mut dyn Read,
    bundle: &BundleDescriptor,
    limits: &Limits,
    sink: &mut dyn Sink,
) -> Result<(), BundleError> {
    limits.check(bundle)?;
    let mut archive = DigestingReader::new(archive, bundle.size);
    let contents = scan_contents(&mut archive, bundle, limits, sink);
    if contents.as_ref().is_err_and(BundleError::is_local) {
        return contents;
    }
    let (digest, size) = archive.finish().map_err(|failure| match failure {
        ReadFailure::TooLong => BundleError::TooLong { declared: bundle.size },
        ReadFailure::Io(error) => BundleError::Read(error),
    })?;
    if size < bundle.size {
        return Err(BundleError::TooShort { declared: bundle.size, found: size });
    }
    if digest != bundle.digest {
        return Err(BundleError::WrongDigest { declared: bundle.digest, found: digest });
    }
    contents
}

fn scan_contents(
    archive: &mut dyn Read,
    bundle: &BundleDescriptor,
    limits: &Limits,
    sink: &mut dyn Sink,
) -> Result<(), BundleError> {
    let mut decoder = zstd::Decoder::new(archive).map_err(BundleError::Compression)?.single_frame();
    decoder.window_log_max(WINDOW_LOG).map_err(BundleError::Compression)?;
    let mut tree = Tree { stream: DigestingReader::new(&mut decoder, u64::MAX) };
    let mut tally = Tally { bundle, shape: Shape::new(limits), limits, entries: 0, unpacked: 0 };
    while let Some((raw, header)) = tree.header()? {
        let name = raw.name(&header);
        let refused = |refusal| BundleError::refused(&name, refusal);
        let entry = raw.entry(&header).map_err(refused)?;
        tally.add(&entry)?;
        raw.check_canonical(&entry).map_err(refused)?;
        sink.start(&entry)?;
        tree.content(entry.size(), sink)?;
        if !tree.is_padded(entry.size())? {
            return Err(refused(Refusal::DirtyPadding));
        }
        sink.end()?;
    }
    let digest = match tree.stream.finish() {
        Ok((digest, _)) => digest,
        Err(ReadFailure::Io(error)) => return Err(BundleError::Compression(error)),
        Err(ReadFailure::TooLong) => return Err(BundleError::Malformed("is endless")),
    };
    if !decoder.finish().fill_buf().map_err(BundleError::Compression)?.is_empty() {
        return Err(BundleError::Malformed("is followed by data outside its compression"));
    }
    tally.finish()?;
    match digest == bundle.tree {
        true => Ok(()),
        false => Err(BundleError::WrongTree { declared: bundle.tree, found: digest }),
    }
}

/// What has been found so far, against what was declared.
struct Tally<'t> {
    bundle: &'t BundleDescriptor,
    shape: Shape,
    limits: &'t Limits,
    entries: u64,
    unpacked: u64,
}

impl Tally<'_> {
    fn add(&mut self, entry: &Entry) -> Result<(), BundleError> {
        self.entries += 1;
        if self.entries > self.bundle.entries {
            return Err(self.undeclared_entries());
        }
        self.unpacked = self.unpacked.saturating_add(entry.size());
        if self.unpacked > self.bundle.unpacked {
            return Err(self.undeclared_bytes());
        }
        self.shape.add(entry).map_err(|misfit| match misfit {
            Misfit::Refused(refusal) => BundleError::refused(entry.path.as_bytes(), refusal),
            Misfit::TooManyNames => BundleError::TooManyNames { most: self.limits.names },
        })
    }

    fn finish(&self) -> Result<(), BundleError> {
        if self.entries < self.bundle.entries {
            return Err(self.undeclared_entries());
        }
        if self.unpacked < self.bundle.unpacked {
            return Err(self.undeclared_bytes());
        }
        self.shape.check_links().map_err(|(path, refusal)| BundleError::refused(path.as_bytes(), refusal))
    }

    fn undeclared_entries(&self) -> BundleError {
        BundleError::Undeclared { what: "entries", declared: self.bundle.entries, found: self.entries }
    }

    fn undeclared_bytes(&self) -> BundleError {
        BundleError::Undeclared {
            what: "bytes of files",
            declared: self.bundle.unpacked,
            found: self.unpacked,
        }
    }
}

/// The tar stream.
struct Tree<R> {
    stream: DigestingReader<R>,
}

impl<R: Read> Tree<R> {
    /// The next header, with the long names before it; `None` at the end, which must be the end.
    fn header(&mut self) -> Result<Option<(RawHeader, Header)>, BundleError> {
        let mut raw = RawHeader::default();
        loop {
            let mut header = Header::new_old();
            self.exactly(header.as_mut_bytes(), "ends within a header")?;
            let long = match header.entry_type() {
                _ if raw.bytes.is_empty() && is_zero(header.as_bytes()) => return self.end().map(|()| None),
                EntryType::GNULongName => &mut raw.long_name,
                EntryType::GNULongLink => &mut raw.long_target,
                _ => {
                    raw.bytes.extend(header.as_bytes());
                    return Ok(Some((raw, header)));
                }
            };
            let refused = |refusal| BundleError::refused(b"(long name)", refusal);
            let size = header.entry_size().map_err(|_| refused(Refusal::NotCanonical("size")))?;
            if size > MAX_LONG {
                return Err(refused(Refusal::PathTooLong));
            }
            if long.is_some() {
                return Err(refused(Refusal::NotCanonical("long name")));
            }
            let length = size as usize;
            let mut content = vec![0; length + padding(size).len()];
            self.exactly(&mut content, "ends within a long name")?;
            *long = Some(long_text(content[..length].to_vec()).map_err(refused)?);
            raw.bytes.extend(header.as_bytes());
            raw.bytes.extend(content);
        }
    }

    /// After the first of the two zero blocks.
    fn end(&mut self) -> Result<(), BundleError> {
        let mut block = [0; BLOCK];
        self.exactly(&mut block, "ends without its end mark")?;
        if !is_zero(&block) {
            return Err(BundleError::Malformed("has an end mark in its middle"));
        }
        match self.stream.read(&mut block).map_err(BundleError::Compression)? {
            0 => Ok(()),
            _ => Err(BundleError::Malformed("goes on behind its end mark")),
        }
    }

    fn content(&mut self, size: u64, sink: &mut dyn Sink) -> Result<(), BundleError> {
        let mut buffer = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE))];
        let mut left = size;
        while left > 0 {
            let piece = buffer.len().min(usize::try_from(left).unwrap_or(PIECE));
            let piece = &mut buffer[..piece];
            self.exactly(piece, "ends within a file")?;
            sink.content(piece)?;
            left -= piece.len() as u64;
        }
        Ok(())
    }

    fn is_padded(&mut self, size: u64) -> Result<bool, BundleError> {
        let mut zeros = [0; BLOCK];
        let zeros = &mut zeros[..padding(size).len()];
        self.exactly(zeros, "ends within a file")?;
        Ok(is_zero(zeros))
    }

    fn exactly(&mut self, buffer: &mut [u8], too_short: &'static str) -> Result<(), BundleError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => return Err(BundleError::Malformed(too_short)),
                Ok(read) => filled += read,
                Err(error) => return Err(BundleError::Compression(error)),
            }
        }
        Ok(())
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
