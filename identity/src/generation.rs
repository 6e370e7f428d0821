//! Credentials that are replaced while others read them: each in a folder of its own, and a link that names the one that
//! counts. Key and certificate change together, at the rename of the link, or not at all.

use crate::files::{self, FileError};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// The link to the generation that counts.
const CURRENT: &str = "current";
/// Before it is renamed over the former one.
const NEXT: &str = ".current.new";
/// How the folders' names begin; the certificate's serial number follows.
const PREFIX: &str = "gen-";

/// The folder that holds the credentials of `directory`: the current generation, or the folder itself where none was ever
/// made.
pub(crate) fn current(directory: &Path) -> PathBuf {
    let link = directory.join(CURRENT);
    if link.exists() { link } else { directory.to_owned() }
}

/// The name of the current generation; `None` where there is none.
pub(crate) fn name(directory: &Path) -> Option<PathBuf> {
    fs::read_link(directory.join(CURRENT)).ok()
}

/// Makes a generation: `write` fills its folder, then the link names it, then the others are removed. Whenever this is cut
/// off, the former generation counts, whole, or the new one does.
pub(crate) fn replace<E: From<FileError>>(
    directory: &Path,
    serial: &str,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    files::private_directory(directory)?;
    let name = format!("{PREFIX}{serial}");
    let folder = directory.join(&name);
    files::private_directory(&folder)?;
    write(&folder)?;
    let linked = point(directory, &name);
    linked.map_err(|source| FileError::Io { doing: "replace", path: directory.join(CURRENT), source })?;
    sweep(directory, &name);
    Ok(())
}

fn point(directory: &Path, name: &str) -> io::Result<()> {
    // The folder's own entry is on the disk before the link names it.
    File::open(directory)?.sync_all()?;
    let next = directory.join(NEXT);
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    symlink(name, &next)?;
    fs::rename(&next, directory.join(CURRENT))?;
    File::open(directory)?.sync_all()
}

/// Removes the generations that do not count. Best effort: the next one tries again.
fn sweep(directory: &Path, keep: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name != keep) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
