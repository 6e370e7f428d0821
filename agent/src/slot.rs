//! A file of the journal and its spare: what was written down once can be changed on a disk that is full.
//!
//! Both have room to grow. A change is written over the spare, synced, and exchanged with the file in one step
//! (`RENAME_EXCHANGE`, renameat2(2)): whatever moment the machine stops in, the file is the old one or the new one,
//! whole. On file systems that write in place (ext4, xfs, tmpfs) that takes no block. Where they copy on write
//! (btrfs, zfs), or cannot exchange (nfs), a change needs room like any other file.
//!
//! A file ends with spaces up to its size: JSON allows them.

use crate::durable;
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

const BLOCK: usize = 4096;
/// Room to grow: as much again as the content, up to that.
const MOST_ROOM: usize = 64 * 1024;
/// A spare that is so many times larger than it has to be is cut.
const LOOSE: u64 = 4;

/// Replaces what stands in `path`, by way of `spare`, which must be on the same file system. Makes their folders.
///
/// # Errors
/// Whatever the file system says; the old content then still stands.
pub(crate) fn replace(path: &Path, spare: &Path, content: &[u8]) -> io::Result<()> {
    let folder = folder_of(path)?;
    fs::create_dir_all(folder)?;
    fs::create_dir_all(folder_of(spare)?)?;
    write_over(spare, content)?;
    match renameat_with(CWD, spare, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => File::open(folder)?.sync_all(),
        // The first time there is nothing to exchange it with; and not every file system can.
        Err(Errno::NOENT | Errno::INVAL | Errno::NOSYS) => {
            fs::rename(spare, path)?;
            File::open(folder)?.sync_all()?;
            // So that the next change needs no room. Where there is none even now, that change will say so.
            let _ = write_over(spare, content);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes both for good. What is not there is removed already.
///
/// # Errors
/// Whatever the file system says.
pub(crate) fn remove(path: &Path, spare: &Path) -> io::Result<()> {
    durable::remove(path)?;
    // What is left of it means nothing, and is written over.
    let _ = fs::remove_file(spare);
    Ok(())
}

fn folder_of(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Writes the content and spaces behind it, without giving back a block before it has to.
fn write_over(spare: &Path, content: &[u8]) -> io::Result<()> {
    // Targets and records hold the manifests' environments, and these hold secrets.
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(spare)?;
    let there = file.metadata()?.len();
    let size = size_for(content.len(), there);
    let written = fill(&mut file, content, size).and_then(|()| {
        if there > size {
            file.set_len(size)?;
        }
        file.sync_all()
    });
    if written.is_err() {
        // A full disk needs each block.
        let _ = if there == 0 { fs::remove_file(spare) } else { file.set_len(there.min(size)) };
    }
    written
}

fn fill(file: &mut File, content: &[u8], size: u64) -> io::Result<()> {
    file.write_all(content)?;
    let mut left = usize::try_from(size).unwrap_or(usize::MAX).saturating_sub(content.len());
    while left > 0 {
        let piece = [b' '; BLOCK];
        let part = left.min(BLOCK);
        file.write_all(&piece[..part])?;
        left -= part;
    }
    Ok(())
}

/// How long the file is to be that holds so many bytes and has `there`.
fn size_for(content: usize, there: u64) -> u64 {
    let wanted = (content + content.min(MOST_ROOM) + BLOCK).next_multiple_of(BLOCK) as u64;
    let fits = there >= content as u64 && there <= wanted.saturating_mul(LOOSE);
    if fits { there } else { wanted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap().trim_end().to_owned()
    }

    #[test]
    fn a_change_takes_no_block_that_the_file_and_its_spare_do_not_have() {
        let dir = tempfile::tempdir().unwrap();
        let (path, spare) = (dir.path().join("a/one.json"), dir.path().join("spare/one.json"));
        replace(&path, &spare, b"[1]").unwrap();
        let inodes = |path: &Path| fs::metadata(path).map(|found| (found.ino(), found.len())).unwrap();
        let (first, second) = (inodes(&path), inodes(&spare));
        replace(&path, &spare, format!("[{}]", "2,".repeat(1000)).as_bytes()).unwrap();
        assert_eq!((inodes(&path), inodes(&spare)), (second, first), "another file was made");
        assert!(text(&path).starts_with("[2,"));
        replace(&path, &spare, b"[3]").unwrap();
        assert_eq!((text(&path).as_str(), inodes(&path)), ("[3]", first));
        assert_eq!(serde_json::from_slice::<Vec<u8>>(&fs::read(&path).unwrap()).unwrap(), [3]);
        remove(&path, &spare).unwrap();
        assert!(!path.exists() && !spare.exists());
    }

    #[test]
    fn a_spare_that_was_half_written_means_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, spare) = (dir.path().join("one.json"), dir.path().join("one.spare"));
        replace(&path, &spare, b"[1]").unwrap();
        fs::write(&spare, "[2").unwrap();
        assert_eq!(text(&path), "[1]");
        replace(&path, &spare, b"[3]").unwrap();
        assert_eq!(text(&path), "[3]");
    }

    #[test]
    fn files_have_room_to_grow_and_are_cut_once_they_are_far_too_large() {
        assert_eq!(size_for(10, 0), 8192);
        assert_eq!(size_for(5000, 8192), 8192);
        assert_eq!(size_for(9000, 8192), 24_576);
        assert_eq!(size_for(10, 32_768), 32_768);
        assert_eq!(size_for(10, 32_769), 8192);
        assert_eq!(size_for(1 << 20, 0), (1 << 20) + 64 * 1024 + 4096);
    }
}
