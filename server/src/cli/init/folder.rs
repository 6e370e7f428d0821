//! The folder that is looked at: small regular files only, and not many.

use super::super::error::CliError;
use handover_daemon::read_bounded;
use std::path::{Path, PathBuf};

/// Longest file that is looked at, in bytes.
const MOST: usize = 1 << 20;
/// Most names of the folder that are looked at.
const MOST_NAMES: usize = 2000;

pub(super) struct Folder {
    path: PathBuf,
    names: Vec<String>,
}

impl Folder {
    /// Lists the folder.
    ///
    /// # Errors
    /// Where it is no folder or cannot be read.
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let entries = std::fs::read_dir(path)
            .map_err(|source| CliError::System { what: format!("look into {}", path.display()), source })?;
        let names = entries.take(MOST_NAMES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(Self { path: path.to_owned(), names })
    }

    /// The folder's own name.
    pub(super) fn name(&self) -> String {
        let whole = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The names in it, sorted.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// A file's text; `None` where it is missing, too long, no regular file or no UTF-8.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        String::from_utf8(read_bounded(&self.path.join(name), MOST).ok()?).ok()
    }
}
