//! A file that is whole under its name or not there: temporary file beside it, fsync, rename, fsync of the folder.

use super::{BackupError, error::failed};
use std::{
    fs::{File, Permissions},
    io::{BufWriter, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A file on its way; dropped, it is gone.
pub struct Beside {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl Beside {
    /// Begins the file, readable by its owner only.
    ///
    /// # Errors
    /// When the folder does not take it.
    pub fn new(path: &Path) -> Result<Self, BackupError> {
        let path = std::path::absolute(path).map_err(failed("find", path))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let file = tempfile::Builder::new()
            .prefix(".handover-backup-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)
            .map_err(failed("make a temporary file in", folder))?;
        Ok(Self { path, file: BufWriter::new(file) })
    }

    /// Where bytes go.
    pub fn sink(&mut self) -> &mut impl std::io::Write {
        &mut self.file
    }

    /// Reads what was written, from its beginning.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn read_back(&mut self) -> Result<File, BackupError> {
        self.file.flush().map_err(failed("write", &self.path))?;
        self.file.get_ref().reopen().map_err(failed("read", &self.path))
    }

    /// Makes it durable and gives it its name. Without `replace` a file of that name stays.
    ///
    /// # Errors
    /// When the system refuses, or the name is taken.
    pub fn keep(self, replace: bool) -> Result<(), BackupError> {
        let Self { path, file } = self;
        let file = file.into_inner().map_err(|error| failed("write", &path)(error.into_error()))?;
        file.as_file().sync_all().map_err(failed("sync", &path))?;
        let kept = if replace { file.persist(&path) } else { file.persist_noclobber(&path) };
        kept.map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => BackupError::Exists(path.clone()),
            _ => failed("move into place", &path)(error.error),
        })?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
    }
}

/// Writes a file in one go, replacing one of that name.
///
/// # Errors
/// When the system refuses.
pub fn write_beside(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let mut file = Beside::new(path)?;
    file.sink().write_all(content).map_err(failed("write", path))?;
    file.keep(true)
}
