//! Small files that must be whole or absent, and readable by few: keys and certificates.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The longest key or certificate file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried: "read", "write", ...
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Far too long for what it should be.
    #[error("{} is longer than {MAX_FILE_BYTES} bytes, which no key or certificate is", .0.display())]
    TooLong(PathBuf),
    /// Others could read the private key.
    #[error("{} holds a private key and has mode {mode:04o}: others may read it; run chmod {want:04o} {}, and replace the key if somebody may have", path.display(), path.display())]
    Readable {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The permission bits that it should have.
        want: u32,
    },
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError::Io { doing, path: path.to_owned(), source }
}

/// Makes the folder with mode 0700, its parents with the usual one. One that exists is left as it is.
pub(crate) fn private_directory(path: &Path) -> Result<(), FileError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(io_error("make the folder", parent))?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.map_err(io_error("make the folder", path)),
    }
}

/// Writes the file so that it is whole or as it was before, also after a power cut: temporary file beside it, fsync,
/// rename, fsync of the folder. `mode` holds from the first byte on, whatever the umask is.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The pid keeps two processes apart; what a dead one left behind is replaced.
    let temporary = directory.join(format!(".{name}.{}.new", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let written = write_new(&temporary, bytes, mode)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(directory)?.sync_all());
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        FileError::Io { doing: "write", path: path.to_owned(), source }
    })
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    // The mode of open(2) is cut by the umask: set it.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    file.sync_all()
}

/// Reads a text file of bounded length; `None` where there is none.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>, FileError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io_error("open", path))?,
    };
    read_open(file, path).map(Some)
}

/// Reads a text file of bounded length.
pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    read_open(File::open(path).map_err(io_error("open", path))?, path)
}

/// Reads a private key's file and refuses one with any of the permission bits `forbidden`.
pub(crate) fn read_private(path: &Path, forbidden: u32) -> Result<String, FileError> {
    let file = File::open(path).map_err(io_error("open", path))?;
    let mode = file.metadata().map_err(io_error("look at", path))?.mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(FileError::Readable { path: path.to_owned(), mode, want: mode & !forbidden & 0o777 });
    }
    read_open(file, path)
}

fn read_open(file: File, path: &Path) -> Result<String, FileError> {
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(io_error("read", path))?;
    if text.len() as u64 > MAX_FILE_BYTES { Err(FileError::TooLong(path.to_owned())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_atomically(&path, b"first", 0o600).unwrap();
        write_atomically(&path, b"second", 0o600).unwrap();
        assert_eq!(read(&path).unwrap(), "second");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["key.pem"]);
    }

    #[test]
    fn a_private_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_atomically(&path, b"secret", 0o640).unwrap();
        let error = read_private(&path, 0o077).unwrap_err();
        assert!(matches!(error, FileError::Readable { mode: 0o640, want: 0o600, .. }), "{error}");
        assert_eq!(read_private(&path, 0o007).unwrap(), "secret");
    }

    #[test]
    fn a_file_of_absurd_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert.pem");
        write_atomically(&path, &vec![b'a'; 300_000], 0o644).unwrap();
        assert!(matches!(read(&path), Err(FileError::TooLong(_))));
    }
}
