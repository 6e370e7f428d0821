//! The manifest that a command is given: read with bounds, and never waited for.

use super::{diagnostics::Mistakes, error::CliError};
use handover_model::config::{MAX_MANIFEST_BYTES, Manifest};
use nix::fcntl::OFlag;
use std::{
    fs::{File, FileType, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The manifest's name in a release's folder.
pub(super) const NAME: &str = "handover.toml";

/// A manifest without mistakes.
#[derive(Debug)]
pub(super) struct ManifestFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) manifest: Manifest,
}

/// The manifest of a folder, or the file itself.
pub(super) fn path_of(folder_or_file: &Path) -> PathBuf {
    if folder_or_file.as_os_str() == "." {
        return PathBuf::from(NAME);
    }
    if folder_or_file.is_dir() { folder_or_file.join(NAME) } else { folder_or_file.to_owned() }
}

impl ManifestFile {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// Where it cannot be read, is no regular file, or has mistakes: [`CliError::Manifest`] has them all.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let bytes = read_bounded(path, MAX_MANIFEST_BYTES)?;
        let length = bytes.len();
        match Manifest::from_bytes(&bytes) {
            Ok(manifest) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Self { path: path.to_owned(), text, manifest }),
                Err(error) => Err(CliError::File { path: path.to_owned(), problem: error.to_string() }),
            },
            Err(errors) => {
                // Of one that was refused unread nothing is shown.
                let text =
                    if length > MAX_MANIFEST_BYTES { "".into() } else { String::from_utf8_lossy(&bytes) };
                let text = text.into_owned();
                Err(CliError::Manifest(Box::new(Mistakes { path: path.to_owned(), text, errors })))
            }
        }
    }
}

/// The bytes of a regular file, at most one more than `most`, so that one that is too long is seen as such.
///
/// Opened without blocking: a fifo that nobody writes to must not hold the command up.
///
/// # Errors
/// Where it cannot be read, is longer than `most`, or is a folder, a fifo, a device or a socket.
pub(super) fn read_bounded(path: &Path, most: usize) -> Result<Vec<u8>, CliError> {
    let failed = |source: io::Error| CliError::System { what: format!("read {}", path.display()), source };
    let refused = |problem: String| CliError::File { path: path.to_owned(), problem };
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
