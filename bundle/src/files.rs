//! Reading some files out of an archive, without unpacking it.

use crate::{
    BundleDescriptor, BundleError, Limits,
    entry::{Entry, EntryKind},
    scan::{Sink, scan},
};
use std::io::Read;

/// How much is read out of an archive at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesLimits {
    /// Files.
    pub files: u64,
    /// Bytes of all of them together.
    pub bytes: u64,
}

/// What was found beneath some folders of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The folders that are there.
    pub folders: Vec<String>,
    /// Regular files that lie directly in one of them: path and content, in the order of their paths.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Reads the regular files that lie directly in some folders of an archive (paths as in the bundle, like
/// `migrations/expand`), and checks the whole archive on the way as [`verify`](crate::verify) does. What has a name that is
/// no UTF-8 is left out.
///
/// # Errors
/// As [`verify`](crate::verify); [`BundleError::TooLarge`] where there is more than `most`.
pub fn read_files(
    mut archive: impl Read,
    bundle: &BundleDescriptor,
    limits: &Limits,
    folders: &[String],
    most: FilesLimits,
) -> Result<Found, BundleError> {
    let mut collector = Collector { folders, most, found: Found::default(), bytes: 0, open: false };
    scan(&mut archive, bundle, limits, &mut collector)?;
    Ok(collector.found)
}

struct Collector<'a> {
    folders: &'a [String],
    most: FilesLimits,
    found: Found,
    bytes: u64,
    /// Whether what comes is the content of the last file.
    open: bool,
}

impl Sink for Collector<'_> {
    fn start(&mut self, entry: &Entry) -> Result<(), BundleError> {
        let (folder, _name) = entry.path.split();
        let wanted = |path: &[u8]| self.folders.iter().any(|folder| folder.as_bytes() == path);
        let path = std::str::from_utf8(entry.path.as_bytes()).ok();
        match (&entry.kind, path) {
            (EntryKind::Directory, Some(path)) if wanted(path.as_bytes()) => {
                self.found.folders.push(path.to_owned());
            }
            (EntryKind::File { .. }, Some(path)) if wanted(folder) => {
                let count = self.found.files.len() as u64 + 1;
                self.bounded("files to be read", count, self.most.files)?;
                self.found.files.push((path.to_owned(), Vec::new()));
                self.open = true;
            }
            (EntryKind::Directory | EntryKind::File { .. } | EntryKind::Link { .. }, _) => {}
        }
        Ok(())
    }

    fn content(&mut self, piece: &[u8]) -> Result<(), BundleError> {
        if !self.open {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        self.bounded("bytes of files to be read", self.bytes, self.most.bytes)?;
        if let Some((_, content)) = self.found.files.last_mut() {
            content.extend_from_slice(piece);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BundleError> {
        self.open = false;
        Ok(())
    }
}

impl Collector<'_> {
    fn bounded(&self, what: &'static str, declared: u64, most: u64) -> Result<(), BundleError> {
        if declared > most {
            return Err(BundleError::TooLarge { what, declared, most });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack;
    use std::{collections::BTreeMap, fs};

    const MOST: FilesLimits = FilesLimits { files: 10, bytes: 1000 };

    fn packed(files: &BTreeMap<&str, &str>) -> (Vec<u8>, BundleDescriptor) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut archive = Vec::new();
        let descriptor = pack(dir.path(), &mut archive, &mut |_| {}).unwrap();
        (archive, descriptor)
    }

    #[test]
    fn files_of_the_named_folders_are_read_and_no_others() {
        let files = [
            ("bin/shop", "#!"),
            ("m/expand/0042_email.sql", "alter table"),
            ("m/expand/deep/0001_no.sql", "no"),
            ("m/contract/0043_drop.sql", "drop"),
            ("m/expanded/0001_no.sql", "no"),
        ];
        let (archive, bundle) = packed(&files.into());
        let folders = ["m/expand", "m/contract", "m/backfill"].map(str::to_owned);
        let found = read_files(archive.as_slice(), &bundle, &Limits::default(), &folders, MOST).unwrap();
        assert_eq!(found.folders, ["m/contract", "m/expand"]);
        let read: Vec<_> = found.files.iter().map(|(path, text)| (path.as_str(), text.as_slice())).collect();
        assert_eq!(
            read,
            [("m/contract/0043_drop.sql", b"drop".as_slice()), ("m/expand/0042_email.sql", b"alter table")]
        );
    }

    #[test]
    fn more_than_is_wanted_is_refused() {
        let (archive, bundle) = packed(&[("m/1.sql", "12345"), ("m/2.sql", "12345")].into());
        let read = |most| {
            read_files(archive.as_slice(), &bundle, &Limits::default(), &["m".to_owned()], most)
                .map(|found| found.files.len())
        };
        assert_eq!(read(FilesLimits { files: 2, bytes: 10 }).unwrap(), 2);
        let too_many = read(FilesLimits { files: 1, bytes: 10 }).unwrap_err();
        assert!(matches!(too_many, BundleError::TooLarge { what: "files to be read", .. }), "{too_many}");
        let too_large = read(FilesLimits { files: 2, bytes: 9 }).unwrap_err();
        assert!(matches!(too_large, BundleError::TooLarge { declared: 10, most: 9, .. }), "{too_large}");
    }
}
