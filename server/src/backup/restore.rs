//! Putting a backup in place of a store.

use super::{
    BackupError, Header, Item, Reader, Summary, error::failed, take::files_of, verify, write_beside,
};
use crate::{
    fleet::check::{Checker, Problem},
    store::{Batch, MAX_BATCH_BYTES, Place, SledStore, Store, StoreError},
};
use std::{
    fs::{DirBuilder, File},
    io::{BufReader, Seek as _},
    ops::ControlFlow,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Entries that are committed at once.
const COMMIT: usize = 1000;

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What the backup said of itself.
    pub header: Header,
    /// What was in it.
    pub summary: Summary,
    /// Where the former store is now, if there was one.
    pub store_aside: Option<PathBuf>,
    /// Where the former CA is now, if it was another one.
    pub ca_aside: Option<PathBuf>,
    /// What is wrong with the records, in the store as in the backup.
    pub problems: Vec<Problem>,
}

/// Restores the backup `file` into the folder `data`: verifies it whole, builds a store beside the place, looks
/// through it, and puts it there in one step. The store and CA that are there are kept beside, with `set_aside`, and
/// otherwise refused.
///
/// # Errors
/// When a server runs on the folder, the backup is not whole, or the system refuses. Before the last step nothing of
/// what was there has changed.
pub async fn restore(file: &Path, data: &Path, set_aside: bool) -> Result<Restored, BackupError> {
    let mut backup = File::open(file).map_err(failed("open", file))?;
    let (header, summary) = verify(BufReader::new(&backup))?;
    backup.rewind().map_err(failed("read", file))?;
    let store = data.join("store");
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed("make", data))?;
    let place = Place::take(&store)?;
    if place.is_taken()? && !set_aside {
        return Err(BackupError::Occupied(store));
    }

    let (new_store, new_ca) = (data.join("store.restoring"), data.join("ca.restoring"));
    for rest in [&new_store, &new_ca] {
        // Of a restore that was cut off: the backup still has it all.
        if rest.exists() {
            std::fs::remove_dir_all(rest).map_err(failed("remove", rest))?;
        }
    }
    DirBuilder::new().mode(0o700).create(&new_ca).map_err(failed("make", &new_ca))?;
    let path = new_store.clone();
    let built = tokio::task::spawn_blocking(move || SledStore::open(&path));
    let built = built.await.map_err(|error| BackupError::Interrupted(error.to_string()))??;
    fill(&built, Reader::new(BufReader::new(&backup))?, &new_ca, summary).await?;
    let problems = look_through(&built).await?;
    built.close();
    sync_folder(&new_store)?;

    let ca_aside = put_ca(&new_ca, &data.join("ca"), set_aside)?;
    let store_aside = place.put(&new_store)?;
    let lock = data.join("store.restoring.lock");
    std::fs::remove_file(&lock).map_err(failed("remove", &lock))?;
    Ok(Restored { header, summary, store_aside, ca_aside, problems })
}

/// Writes everything into the new store and the CA's new folder.
async fn fill(
    store: &SledStore,
    mut backup: Reader<BufReader<&File>>,
    ca: &Path,
    expected: Summary,
) -> Result<(), BackupError> {
    let (mut batch, mut bytes) = (Batch::new(), 0);
    loop {
        match backup.piece()? {
            Item::Entry(keyspace, key, value) => {
                bytes += key.len() + value.len();
                batch.put(keyspace, key, value)?;
                if batch.len() >= COMMIT || bytes > MAX_BATCH_BYTES / 2 {
                    store.commit(std::mem::take(&mut batch)).await?;
                    bytes = 0;
                }
            }
            Item::File(name, content) => write_beside(&ca.join(name), &content)?,
            Item::End(summary) if summary == expected => break,
            Item::End(_) => {
                let why = "it was changed while it was read".to_owned();
                return Err(BackupError::Damaged { why, entries: expected.entries });
            }
        }
    }
    store.commit(batch).await?;
    Ok(())
}

async fn look_through(store: &SledStore) -> Result<Vec<Problem>, BackupError> {
    let checker = Arc::new(Mutex::new(Some(Checker::default())));
    let visitor = Arc::clone(&checker);
    let snapshot = store.snapshot(Box::new(move |keyspace, key, value| {
        if let Some(checker) = &mut *visitor.lock().unwrap_or_else(PoisonError::into_inner) {
            checker.entry(keyspace, key, Ok(value));
        }
        ControlFlow::Continue(())
    }));
    snapshot.await?;
    let checker = checker.lock().unwrap_or_else(PoisonError::into_inner).take();
    let checker = checker.ok_or_else(|| StoreError::Broken("its snapshot was lost".to_owned()))?;
    Ok(checker.finish().problems)
}

/// Puts the CA's new folder in place, unless the same files are there; says where another CA is now.
fn put_ca(new: &Path, ca: &Path, set_aside: bool) -> Result<Option<PathBuf>, BackupError> {
    let (wanted, there) = (files_of(new)?, files_of(ca)?);
    // Without files in the backup the operator has a CA of their own.
    if wanted == there || wanted.is_empty() {
        std::fs::remove_dir_all(new).map_err(failed("remove", new))?;
        return Ok(None);
    }
    let aside = match there.is_empty() {
        true => None,
        false if set_aside => Some(crate::store::move_aside(ca)?),
        false => return Err(BackupError::Occupied(ca.to_owned())),
    };
    sync_folder(new)?;
    std::fs::rename(new, ca).map_err(failed("move into place", ca))?;
    if let Some(data) = ca.parent() {
        sync_folder(data)?;
    }
    Ok(aside)
}

fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}
