//! The manifest that a command is given: read with bounds, and never waited for.

use super::error::CliError;
use handover_daemon::{FileError, read_bounded};
use handover_model::config::{MAX_MANIFEST_BYTES, Manifest, WrongFile};
use std::{
    io,
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
        let bytes = read_bounded(path, MAX_MANIFEST_BYTES).map_err(|error| proposing(path, error))?;
        match Manifest::from_bytes(&bytes) {
            Ok(manifest) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Self { path: path.to_owned(), text, manifest }),
                Err(error) => Err(CliError::File { path: path.to_owned(), problem: error.to_string() }),
            },
            Err(mistakes) => {
                let file = WrongFile::new(path, &bytes, MAX_MANIFEST_BYTES, mistakes);
                Err(CliError::Manifest(Box::new(file)))
            }
        }
    }
}

/// Says how a folder without a manifest gets one.
fn proposing(path: &Path, error: FileError) -> CliError {
    let missing =
        matches!(&error, FileError::System { source, .. } if source.kind() == io::ErrorKind::NotFound);
    let of_folder = path.file_name().is_some_and(|name| name == NAME);
    match path.parent() {
        Some(folder) if missing && of_folder && (folder.as_os_str().is_empty() || folder.is_dir()) => {
            let init = format!("handover init {}", folder.display());
            let problem = format!("is not there; `{}` proposes one", init.trim_end());
            CliError::File { path: path.to_owned(), problem }
        }
        Some(_) | None => error.into(),
    }
}
