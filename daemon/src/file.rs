//! Files that a person names: read with a bound, and never waited for.

use nix::fcntl::OFlag;
use std::{
    fs::{File, FileType, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system said no.
    #[error("cannot read {}", path.display())]
    System {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {problem}", path.display())]
    Refused {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The bytes of a regular file, at most one more than `most`, so that one that grows meanwhile is seen as too long.
///
/// Opened without blocking: a fifo that nobody writes to must not hold the program up.
///
/// # Errors
/// Where it cannot be read, is longer than `most`, or is a folder, a fifo, a device or a socket.
pub fn read_bounded(path: &Path, most: usize) -> Result<Vec<u8>, FileError> {
    let failed = |source: io::Error| FileError::System { path: path.to_owned(), source };
    let refused = |problem: String| FileError::Refused { path: path.to_owned(), problem };
    // Opening some devices has effects, and a socket cannot be opened: looked at before.
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    if !kind.is_file() {
        return Err(refused(format!("is {}, not a file", what(kind))));
    }
    let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(failed)?;
    let length = regular_length(&file).map_err(failed)?;
    let length = length.ok_or_else(|| refused("is not a file any more".to_owned()))?;
    if length > most as u64 {
        return Err(refused(format!(
            "has {length} bytes, more than the {most} that are read: is it the right file?"
        )));
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn regular_length(file: &File) -> io::Result<Option<u64>> {
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some(metadata.len()))
}

fn what(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a fifo"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        let error = read_bounded(&path, 4).unwrap_err().to_string();
        assert!(
            error.ends_with("has 5 bytes, more than the 4 that are read: is it the right file?"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_file_is_neither_read_nor_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        for (path, kind) in
            [(fifo.as_path(), "a fifo"), (folder.path(), "a folder"), (Path::new("/dev/zero"), "a device")]
        {
            let error = read_bounded(path, 5).unwrap_err().to_string();
            assert!(error.ends_with(&format!("is {kind}, not a file")), "{error}");
        }
        assert!(matches!(read_bounded(&folder.path().join("none"), 5), Err(FileError::System { .. })));
    }
}
