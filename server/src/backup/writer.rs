//! Writing a backup's bytes.

use super::{END, ENTRY, FILE, Header, MAGIC};
use crate::store::{Keyspace, envelope};
use handover_model::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};

/// Writes a backup piece by piece.
pub struct Writer<W: Write> {
    to: W,
    hash: Sha256,
    summary: Summary,
}

/// What is in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Entries of the store.
    pub entries: u64,
    /// Files of the CA.
    pub files: u64,
    /// Bytes of the whole.
    pub bytes: u64,
    /// SHA-256 of all bytes before itself.
    pub digest: Digest,
}

impl<W: Write> Writer<W> {
    /// Begins a backup.
    ///
    /// # Errors
    /// What `to` says.
    pub fn new(to: W, header: &Header) -> io::Result<Self> {
        let summary = Summary { entries: 0, files: 0, bytes: 0, digest: Digest::of(b"") };
        let mut writer = Self { to, hash: Sha256::new(), summary };
        writer.put(MAGIC)?;
        let header = serde_json::to_vec(header)?;
        writer.sized::<u32>(&header)?;
        Ok(writer)
    }

    /// An entry of the store. They come in the order of keyspaces and keys.
    ///
    /// # Errors
    /// What the sink says.
    pub fn entry(&mut self, keyspace: Keyspace, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.put(&[ENTRY])?;
        self.sized::<u8>(keyspace.as_str().as_bytes())?;
        self.sized::<u16>(key)?;
        self.sized::<u32>(&envelope::seal(keyspace, key, value))?;
        self.summary.entries += 1;
        Ok(())
    }

    /// A file of the CA.
    ///
    /// # Errors
    /// What the sink says.
    pub fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.put(&[FILE])?;
        self.sized::<u8>(name.as_bytes())?;
        self.sized::<u32>(content)?;
        self.summary.files += 1;
        Ok(())
    }

    /// Ends it, and gives the sink back, flushed.
    ///
    /// # Errors
    /// What the sink says.
    pub fn finish(mut self) -> io::Result<(W, Summary)> {
        self.put(&[END])?;
        self.put(&self.summary.entries.to_le_bytes())?;
        self.put(&self.summary.files.to_le_bytes())?;
        let digest: [u8; 32] = self.hash.finalize().into();
        self.to.write_all(&digest)?;
        self.to.flush()?;
        let summary =
            Summary { digest: Digest::from_bytes(digest), bytes: self.summary.bytes + 32, ..self.summary };
        Ok((self.to, summary))
    }

    fn sized<L: Length>(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = L::of(bytes.len()).ok_or(io::ErrorKind::InvalidInput)?;
        self.put(&length)?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.summary.bytes += bytes.len() as u64;
        self.to.write_all(bytes)
    }
}

/// A length as it is written.
trait Length {
    fn of(length: usize) -> Option<Vec<u8>>;
}

impl Length for u8 {
    fn of(length: usize) -> Option<Vec<u8>> {
        Some(Self::try_from(length).ok()?.to_le_bytes().to_vec())
    }
}

impl Length for u16 {
    fn of(length: usize) -> Option<Vec<u8>> {
        Some(Self::try_from(length).ok()?.to_le_bytes().to_vec())
    }
}

impl Length for u32 {
    fn of(length: usize) -> Option<Vec<u8>> {
        Some(Self::try_from(length).ok()?.to_le_bytes().to_vec())
    }
}
