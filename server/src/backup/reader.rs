//! Reading a backup's bytes, of which none is believed.

use super::{BackupError, END, ENTRY, FILE, FORMAT, Header, MAGIC, MAX_FILE, MAX_FILES, MAX_HEADER, Summary};
use crate::store::{Keyspace, MAX_KEY_BYTES, MAX_VALUE_BYTES, envelope, format};
use handover_model::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// A piece of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An entry of the store.
    Entry(Keyspace, Vec<u8>, Vec<u8>),
    /// A file of the CA.
    File(String, Vec<u8>),
    /// The end: everything was whole.
    End(Summary),
}

/// Reads a backup piece by piece. What it gave is only to be trusted once it has given [`Item::End`].
pub struct Reader<R: Read> {
    from: R,
    hash: Sha256,
    header: Header,
    entries: u64,
    files: u64,
    bytes: u64,
}

/// Reads a whole backup and says what is in it.
///
/// # Errors
/// Where it is no backup, of a newer program, cut or changed.
pub fn verify(from: impl Read) -> Result<(Header, Summary), BackupError> {
    let mut reader = Reader::new(from)?;
    loop {
        if let Item::End(summary) = reader.piece()? {
            return Ok((reader.header, summary));
        }
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// Where it is no backup, or of a newer program.
    pub fn new(from: R) -> Result<Self, BackupError> {
        let header = Header {
            format: FORMAT,
            program: String::new(),
            fleet: String::new(),
            taken: 0,
            store_format: 0,
        };
        let mut reader = Self { from, hash: Sha256::new(), header, entries: 0, files: 0, bytes: 0 };
        match reader.take(MAGIC.len()) {
            Ok(magic) if magic == MAGIC => {}
            Ok(_) | Err(BackupError::Cut { .. }) => return Err(BackupError::NotABackup),
            Err(error) => return Err(error),
        }
        let length = reader.number::<4>()?;
        if length > u64::from(MAX_HEADER) {
            return Err(reader.damaged("its header is too long"));
        }
        let header = reader.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        reader.header = serde_json::from_slice(&header)
            .map_err(|error| reader.damaged(format!("its header: {error}")))?;
        let Header { format: found, program, store_format, .. } = &reader.header;
        let newer = |what, found, known| BackupError::Newer { what, found, known, program: program.clone() };
        if *found > FORMAT {
            return Err(newer("of the file", *found, FORMAT));
        }
        if *store_format > format::VERSION {
            return Err(newer("of the records in it", *store_format, format::VERSION));
        }
        Ok(reader)
    }

    /// What the backup says of itself. Not to be trusted before the end.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next piece; not to be called behind the end.
    ///
    /// # Errors
    /// Where it is cut or changed.
    pub fn piece(&mut self) -> Result<Item, BackupError> {
        match self.number::<1>()? {
            kind if kind == u64::from(ENTRY) => self.entry(),
            kind if kind == u64::from(FILE) => self.file(),
            kind if kind == u64::from(END) => self.end(),
            kind => Err(self.damaged(format!("it has a piece of kind {kind}"))),
        }
    }

    fn entry(&mut self) -> Result<Item, BackupError> {
        let name = self.sized::<1>(u64::from(u8::MAX), "a keyspace's name")?;
        let key = self.sized::<2>(MAX_KEY_BYTES as u64, "a key")?;
        let sealed = self.sized::<4>((MAX_VALUE_BYTES + envelope::OVERHEAD) as u64, "a value")?;
        let keyspace = Keyspace::named(&name).ok_or_else(|| {
            self.damaged(format!(
                "it has a keyspace \"{}\" that this program does not know",
                name.escape_ascii()
            ))
        })?;
        let value = envelope::open(keyspace, &key, &sealed)
            .map_err(|error| self.damaged(error.to_string()))?
            .to_vec();
        self.entries += 1;
        Ok(Item::Entry(keyspace, key, value))
    }

    fn file(&mut self) -> Result<Item, BackupError> {
        let name = self.sized::<1>(u64::from(u8::MAX), "a file's name")?;
        let content = self.sized::<4>(u64::from(MAX_FILE), "a file")?;
        let plain = |name: &str| {
            !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let name = String::from_utf8(name).ok().filter(|name| !name.is_empty() && plain(name));
        let name = name.ok_or_else(|| self.damaged("it has a file whose name is none of the CA's"))?;
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(self.damaged("it has too many files"));
        }
        Ok(Item::File(name, content))
    }

    fn end(&mut self) -> Result<Item, BackupError> {
        let (entries, files) = (self.number::<8>()?, self.number::<8>()?);
        let digest: [u8; 32] = self.hash.clone().finalize().into();
        let mut found = [0; 32];
        self.fill(&mut found)?;
        if found != digest {
            return Err(self.damaged("its SHA-256 does not match"));
        }
        if (entries, files) != (self.entries, self.files) {
            return Err(self.damaged("it has other numbers of entries and files than it says"));
        }
        match self.from.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(self.damaged("it goes on behind its end")),
            Err(error) => return Err(BackupError::Stream(error)),
        }
        Ok(Item::End(Summary { entries, files, bytes: self.bytes, digest: Digest::from_bytes(digest) }))
    }

    fn sized<const N: usize>(&mut self, most: u64, what: &str) -> Result<Vec<u8>, BackupError> {
        let length = self.number::<N>()?;
        if length > most {
            return Err(self.damaged(format!("{what} of {length} bytes in it, at most {most} are written")));
        }
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn number<const N: usize>(&mut self) -> Result<u64, BackupError> {
        let mut bytes = [0; 8];
        let taken = self.take(N)?;
        bytes[..N].copy_from_slice(&taken);
        Ok(u64::from_le_bytes(bytes))
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.from.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Cut { entries: self.entries },
            _ => BackupError::Stream(error),
        })?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn damaged(&self, why: impl Into<String>) -> BackupError {
        BackupError::Damaged { why: why.into(), entries: self.entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Writer;

    fn backup() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), &Header::new("test", 1)).unwrap();
        writer.entry(Keyspace::Hosts, b"alpha", b"{}").unwrap();
        writer.entry(Keyspace::Journal, &[0; MAX_KEY_BYTES], &[7; MAX_VALUE_BYTES]).unwrap();
        writer.file("ca.pem", b"certificate").unwrap();
        writer.finish().unwrap().0
    }

    #[test]
    fn what_was_written_is_read_back() {
        let bytes = backup();
        let mut reader = Reader::new(&*bytes).unwrap();
        assert_eq!((&*reader.header().fleet, reader.header().store_format), ("test", 1));
        assert_eq!(reader.piece().unwrap(), Item::Entry(Keyspace::Hosts, b"alpha".to_vec(), b"{}".to_vec()));
        assert!(matches!(reader.piece().unwrap(), Item::Entry(Keyspace::Journal, ..)));
        assert_eq!(reader.piece().unwrap(), Item::File("ca.pem".into(), b"certificate".to_vec()));
        let Item::End(summary) = reader.piece().unwrap() else { panic!("no end") };
        assert_eq!((summary.entries, summary.files, summary.bytes), (2, 1, bytes.len() as u64));
    }

    #[test]
    fn each_cut_and_each_changed_byte_is_seen() {
        let bytes = backup();
        for length in 0..bytes.len() {
            assert!(verify(&bytes[..length]).is_err(), "cut to {length} went unseen");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(verify(&*changed).is_err(), "a change at {at} went unseen");
        }
        let longer = [&*bytes, &[0]].concat();
        assert!(verify(&*longer).unwrap_err().to_string().contains("goes on behind its end"));
    }

    #[test]
    fn a_file_that_would_leave_the_folder_is_refused() {
        for name in ["../ca.pem", "/etc/passwd", ".hidden", "a/b", ""] {
            let mut writer = Writer::new(Vec::new(), &Header::new("test", 1)).unwrap();
            writer.file(name, b"x").unwrap();
            let bytes = writer.finish().unwrap().0;
            assert!(matches!(verify(&*bytes), Err(BackupError::Damaged { .. })), "{name}");
        }
    }

    #[test]
    fn a_newer_backup_names_the_program_that_reads_it() {
        let mut header = Header::new("test", format::VERSION + 1);
        header.program = "7.2.0".into();
        let bytes = Writer::new(Vec::new(), &header).unwrap().finish().unwrap().0;
        let error = verify(&*bytes).unwrap_err().to_string();
        assert!(error.contains("7.2.0") && error.contains(env!("CARGO_PKG_VERSION")), "{error}");
    }
}
