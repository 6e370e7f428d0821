//! Taking a backup of a store that is in use.
//!
//! The snapshot goes to a file on the server's own disk first: commits wait for as long as that takes, and not for
//! whoever reads it, over however slow a way.

use super::{BackupError, Beside, Header, MAX_FILE, Summary, Writer, error::failed};
use crate::store::{Store, StoreError, format};
use std::{
    fs::File,
    io::{self, BufWriter, Read as _, Seek as _, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What takes backups of one server. A clone takes the same.
#[derive(Clone)]
pub struct Backups {
    store: Arc<dyn Store>,
    data: PathBuf,
    fleet: String,
    /// One at a time.
    turn: Arc<Semaphore>,
}

impl std::fmt::Debug for Backups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backups").field("data", &self.data).finish_non_exhaustive()
    }
}

/// A backup that lies on the server's disk, to be sent. The file has no name, and is gone with this value.
#[derive(Debug)]
pub struct Spool {
    /// At its beginning.
    pub file: File,
    /// What is in it.
    pub summary: Summary,
    _turn: OwnedSemaphorePermit,
}

impl Backups {
    /// Of the store, and of the folder `ca` in `data`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, data: &Path, fleet: &str) -> Self {
        Self { store, data: data.to_owned(), fleet: fleet.to_owned(), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`BackupError::Busy`] while another is taken or sent; when the store or the disk fails.
    pub async fn take(&self) -> Result<Spool, BackupError> {
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| BackupError::Busy)?;
        let file = tempfile::tempfile_in(&self.data).map_err(failed("make a file in", &self.data))?;
        let (file, summary) = self.write(BufWriter::new(file)).await?;
        let mut file = file.into_inner().map_err(|error| self.no_room(error.into_error()))?;
        file.rewind().map_err(failed("read back the backup in", &self.data))?;
        Ok(Spool { file, summary, _turn: turn })
    }

    /// Takes one before the records get another format, beside the store, and says where.
    ///
    /// # Errors
    /// As [`Backups::take`].
    pub async fn take_before_format(&self, version: u32) -> Result<PathBuf, BackupError> {
        let path = self.data.join(format!("before-format-{version}.backup"));
        let mut spool = self.take().await?;
        let copied = path.clone();
        let copy = tokio::task::spawn_blocking(move || {
            let mut file = Beside::new(&copied)?;
            io::copy(&mut spool.file, file.sink()).map_err(failed("write", &copied))?;
            // One that is there is of a start that was cut off before it changed anything.
            file.keep(true)
        });
        copy.await.map_err(|error| BackupError::Interrupted(error.to_string()))??;
        Ok(path)
    }

    async fn write<W: Write + Send + 'static>(&self, to: W) -> Result<(W, Summary), BackupError> {
        let store_format = match format::standing(&*self.store)? {
            format::Standing::Current | format::Standing::Fresh => format::VERSION,
            format::Standing::Older(version) => version,
        };
        let writer = Writer::new(to, &Header::new(&self.fleet, store_format)).map_err(|e| self.no_room(e))?;
        let shared = Arc::new(Mutex::new((Some(writer), None::<io::Error>)));
        let visited = Arc::clone(&shared);
        let snapshot = self.store.snapshot(Box::new(move |keyspace, key, value| {
            let mut shared = visited.lock().unwrap_or_else(PoisonError::into_inner);
            let (Some(writer), failure) = &mut *shared else { return ControlFlow::Break(()) };
            match writer.entry(keyspace, key, value) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    *failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        }));
        snapshot.await?;
        let (writer, failure) = std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(error) = failure {
            return Err(self.no_room(error));
        }
        let mut writer = writer.ok_or_else(|| StoreError::Broken("its snapshot was lost".to_owned()))?;
        let folder = self.data.join("ca");
        let written = tokio::task::spawn_blocking(move || {
            for (name, content) in files_of(&folder)? {
                writer.file(&name, &content).map_err(BackupError::Stream)?;
            }
            writer.finish().map_err(BackupError::Stream)
        });
        match written.await.map_err(|error| BackupError::Interrupted(error.to_string()))? {
            Err(BackupError::Stream(error)) => Err(self.no_room(error)),
            ended => ended,
        }
    }

    fn no_room(&self, error: io::Error) -> BackupError {
        match is_full(&error) {
            true => BackupError::NoRoom(self.data.clone()),
            false => BackupError::Stream(error),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The CA's files, by name. None where the server was given a CA of the operator's own.
pub(super) fn files_of(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, BackupError> {
    let mut files = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        other => other.map_err(failed("read", folder))?,
    };
    for entry in entries {
        let path = entry.map_err(failed("read", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        // What begins with a dot is on its way.
        if name.starts_with('.') || !path.is_file() {
            continue;
        }
        let mut content = Vec::new();
        let file = File::open(&path).map_err(failed("open", &path))?;
        file.take(u64::from(MAX_FILE) + 1).read_to_end(&mut content).map_err(failed("read", &path))?;
        if content.len() > MAX_FILE as usize {
            let why = io::Error::other("it is longer than any certificate or key");
            return Err(failed("back up", &path)(why));
        }
        files.push((name, content));
    }
    files.sort();
    Ok(files)
}
