//! A tar stream by hand, with nothing checked.

use crate::{BundleDescriptor, entry::END, entry::padding};
use handover_model::Digest;
use std::io;
use tar::Header;

/// A tar stream that is put together entry by entry, as wrongly as wanted.
#[derive(Clone, Default)]
pub struct Tarball {
    bytes: Vec<u8>,
    entries: u64,
    unpacked: u64,
}

impl Tarball {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A file of mode 0644.
    #[must_use]
    pub fn file(self, name: &[u8], content: &[u8]) -> Self {
        self.entry(name, b'0', 0o644, b"", content, |_| {})
    }

    /// A directory of mode 0755; its name should end with a slash.
    #[must_use]
    pub fn directory(self, name: &[u8]) -> Self {
        self.entry(name, b'5', 0o755, b"", b"", |_| {})
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(self, name: &[u8], target: &[u8]) -> Self {
        self.entry(name, b'2', 0o777, target, b"", |_| {})
    }

    /// Any entry; `change` may change its header before the checksum is made. Names over 100 bytes are cut, and must
    /// be preceded by a [`Tarball::long_name`].
    #[must_use]
    pub fn entry(
        mut self,
        name: &[u8],
        kind: u8,
        mode: u32,
        target: &[u8],
        content: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        self.entries += 1;
        self.unpacked += content.len() as u64;
        self.header(name, kind, mode, target, content.len() as u64, change);
        self.bytes.extend(content);
        self.bytes.extend(padding(content.len() as u64));
        self
    }

    /// The entry that gives the next one a long name (`L`) or target (`K`), as GNU tar writes it; it counts as none.
    #[must_use]
    pub fn long_name(mut self, kind: u8, name: &[u8]) -> Self {
        let content = [name, b"\0"].concat();
        self.header(b"././@LongLink", kind, 0o644, b"", content.len() as u64, |_| {});
        self.bytes.extend(&content);
        self.bytes.extend(padding(content.len() as u64));
        self
    }

    /// Any bytes.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// What has been put together so far, changed at will.
    #[must_use]
    pub fn changed(mut self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        change(&mut self.bytes);
        self
    }

    /// What has been put together, without an end.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The archive, with its end mark, and a descriptor that is true of it.
    ///
    /// # Errors
    /// When compression fails.
    pub fn finish(self) -> io::Result<(Vec<u8>, BundleDescriptor)> {
        self.raw(&END).finish_without_end()
    }

    /// The archive as it is, and a descriptor that is true of it.
    ///
    /// # Errors
    /// When compression fails.
    pub fn finish_without_end(self) -> io::Result<(Vec<u8>, BundleDescriptor)> {
        let archive = zstd::encode_all(self.bytes.as_slice(), 1)?;
        let descriptor = BundleDescriptor {
            digest: Digest::of(&archive),
            size: archive.len() as u64,
            tree: Digest::of(&self.bytes),
            unpacked: self.unpacked,
            entries: self.entries,
        };
        Ok((archive, descriptor))
    }

    fn header(
        &mut self,
        name: &[u8],
        kind: u8,
        mode: u32,
        target: &[u8],
        size: u64,
        change: impl FnOnce(&mut Header),
    ) {
        let mut header = Header::new_gnu();
        let fields = header.as_old_mut();
        for (field, text) in [(&mut fields.name, name), (&mut fields.linkname, target)] {
            let length = text.len().min(field.len());
            field[..length].copy_from_slice(&text[..length]);
        }
        fields.linkflag = [kind];
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        change(&mut header);
        header.set_cksum();
        self.bytes.extend(header.as_bytes());
    }
}
