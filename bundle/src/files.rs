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
    /// Files, and whatever else lies beside them.
    pub files: u64,
    /// Bytes of all of them together.
    pub bytes: u64,
}

/// What was found beneath some folders of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The folders that are there.
    pub folders: Vec<String>,
    /// Regular files that lie directly in one of them, in the order of their paths.
    pub files: Vec<FoundFile>,
    /// What else lies directly in one of them, in the same order.
    pub others: Vec<Other>,
}

/// A regular file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Its path.
    pub path: String,
    /// What stands in it.
    pub content: Vec<u8>,
    /// Whether it can be executed.
    pub executable: bool,
}

/// What lies in a folder and was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its path, with U+FFFD in the place of bytes that are no UTF-8.
    pub path: String,
    /// What it is.
    pub kind: OtherKind,
}

/// Why something was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherKind {
    /// It is a folder.
    Folder,
    /// It is a symbolic link, wherever it leads.
    Link,
    /// It is a file, and its name is no UTF-8.
    NotUtf8,
}

/// Reads the regular files that lie directly in some folders of an archive (paths as in the bundle, like
/// `migrations/expand`), and checks the whole archive on the way as [`verify`](crate::verify) does. What lies there beside them
/// is named.
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
        let path = std::str::from_utf8(entry.path.as_bytes());
        if let (EntryKind::Directory, Ok(path)) = (&entry.kind, path)
            && self.is_wanted(path.as_bytes())
        {
            self.found.folders.push(path.to_owned());
        }
        if !self.is_wanted(folder) {
            return Ok(());
        }
        let count = self.found.files.len() + self.found.others.len() + 1;
        self.bounded("files to be read", count as u64, self.most.files)?;
        let other = match (&entry.kind, path) {
            (EntryKind::File { executable, .. }, Ok(path)) => {
                let (path, executable) = (path.to_owned(), *executable);
                self.found.files.push(FoundFile { path, content: Vec::new(), executable });
                self.open = true;
                return Ok(());
            }
            (EntryKind::File { .. }, Err(_)) => OtherKind::NotUtf8,
            (EntryKind::Directory, _) => OtherKind::Folder,
            (EntryKind::Link { .. }, _) => OtherKind::Link,
        };
        let path = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
        self.found.others.push(Other { path, kind: other });
        Ok(())
    }

    fn content(&mut self, piece: &[u8]) -> Result<(), BundleError> {
        if !self.open {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        self.bounded("bytes of files to be read", self.bytes, self.most.bytes)?;
        if let Some(FoundFile { content, .. }) = self.found.files.last_mut() {
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
    fn is_wanted(&self, path: &[u8]) -> bool {
        self.folders.iter().any(|folder| folder.as_bytes() == path)
    }

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
    use std::{
        collections::BTreeMap,
        ffi::OsStr,
        fs,
        os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    };

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
    fn whether_a_file_can_be_executed_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in [("1_a.run", 0o644), ("2_b.run", 0o744)] {
            let path = dir.path().join("m").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut archive = Vec::new();
        let bundle = pack(dir.path(), &mut archive, &mut |_| {}).unwrap();
        let folders = ["m".to_owned()];
        let found = read_files(archive.as_slice(), &bundle, &Limits::default(), &folders, MOST).unwrap();
        let told: Vec<_> = found.files.iter().map(|file| (file.path.as_str(), file.executable)).collect();
        assert_eq!(told, [("m/1_a.run", false), ("m/2_b.run", true)]);
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
        let read: Vec<_> =
            found.files.iter().map(|file| (file.path.as_str(), file.content.as_slice())).collect();
        assert_eq!(
            read,
            [("m/contract/0043_drop.sql", b"drop".as_slice()), ("m/expand/0042_email.sql", b"alter table")]
        );
        assert_eq!(
            found.others,
            [Other { path: "m/expand/deep".to_owned(), kind: OtherKind::Folder }],
            "and what else lies in them is named"
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_and_counts() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("m/deep")).unwrap();
        fs::write(dir.path().join("m/1.sql"), "select 1").unwrap();
        std::os::unix::fs::symlink("1.sql", dir.path().join("m/2.sql")).unwrap();
        fs::write(dir.path().join(OsStr::from_bytes(b"m/3\xff.sql")), "select 3").unwrap();
        let mut archive = Vec::new();
        let bundle = pack(dir.path(), &mut archive, &mut |_| {}).unwrap();
        let read = |most| {
            read_files(archive.as_slice(), &bundle, &Limits::default(), &["m".to_owned()], most)
                .map(|found| (found.files.len(), found.others))
        };
        let other = |path: &str, kind| Other { path: path.to_owned(), kind };
        let others = vec![
            other("m/2.sql", OtherKind::Link),
            other("m/3\u{fffd}.sql", OtherKind::NotUtf8),
            other("m/deep", OtherKind::Folder),
        ];
        assert_eq!(read(FilesLimits { files: 4, ..MOST }).unwrap(), (1, others));
        let too_many = read(FilesLimits { files: 3, ..MOST }).unwrap_err();
        assert!(matches!(too_many, BundleError::TooLarge { declared: 4, most: 3, .. }), "{too_many}");
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
