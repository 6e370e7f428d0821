//! Rotation of log files beneath the programs that write them.
//!
//! The writer keeps its descriptor and knows nothing: the head of the file is copied to `FILE.1` and then cut out of
//! the file (FALLOC_FL_COLLAPSE_RANGE, fallocate(2)), while the writer goes on appending behind it. On ext4 and xfs
//! no byte is lost, whatever is written meanwhile. The cut is at a block of the file system, so a line may begin in
//! `FILE.1` and end in `FILE`: joined in order the files are exactly what was written.
//!
//! Elsewhere (tmpfs, btrfs, nfs) the file is copied and truncated. Not guaranteed there: what the program writes
//! between the last read of the copy and the truncation, normally some microseconds, is lost.
//!
//! On a full disk there is no room for the copy. Then the oldest files make way, one after the other, and where there
//! are none the head is given up: a log must not keep the disk full that it filled.

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Heads cut off in one call; the next call goes on. Bounds the time it takes when a file grew without watching.
const MAX_ROUNDS: usize = 8;

/// When to rotate a file, and what to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes; a file that is larger is rotated. About this much is in each older file.
    pub max_size: u64,
    /// How many older files are kept, `FILE.1` the youngest; 0 keeps none.
    pub keep: u32,
}

/// What a rotation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The file is not too large, or not there.
    NotNeeded,
    /// The head was cut off; nothing is lost.
    Collapsed,
    /// The file was copied and truncated; see the module for what may be lost.
    Truncated,
}

/// The name of an older file: `FILE.NUMBER`.
#[must_use]
pub fn generation(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Rotates `path` if it is larger than it may be. Blocks for as long as copying takes: call it off the runtime, and
/// never twice at once for one file. If the machine stops in the middle, the head is in both files: some lines
/// twice, none missing.
///
/// # Errors
/// When a file cannot be read, written or renamed; the log itself is as it was then.
pub fn rotate(path: &Path, rotation: Rotation) -> io::Result<Rotated> {
    rotate_with(path, rotation, collapse)
}

/// Cuts the first bytes out of a file; false where the file system cannot.
type Collapse = fn(&File, u64) -> io::Result<bool>;

fn rotate_with(path: &Path, rotation: Rotation, collapse: Collapse) -> io::Result<Rotated> {
    let mut done = Rotated::NotNeeded;
    for _ in 0..MAX_ROUNDS {
        let opened = OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NOFOLLOW).open(path);
        let mut log = match opened {
            Ok(log) => log,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(done),
            Err(error) => return Err(error),
        };
        let size = log.metadata()?.len();
        let head = head_of(size, rotation.max_size, fstatvfs(&log)?.f_bsize);
        if size <= rotation.max_size || head == 0 {
            return Ok(done);
        }
        let mut older =
            if rotation.keep > 0 { keep_head(path, &mut log, head, rotation.keep)? } else { None };
        if collapse(&log, head)? {
            done = Rotated::Collapsed;
            continue;
        }
        // The head is set aside already; the rest follows it. The window is between the last read and set_len.
        if let Some(older) = &mut older {
            match io::copy(&mut log, older) {
                Err(error) if is_full(&error) => {
                    tracing::warn!(file = %path.display(), "the disk is full: the end of the log is given up");
                }
                copied => drop(copied?),
            }
        }
        log.set_len(0)?;
        return Ok(Rotated::Truncated);
    }
    Ok(done)
}

/// How many bytes of the head to cut off: whole blocks, about `max_size`, and never up to the end of the file,
/// which the kernel refuses.
fn head_of(size: u64, max_size: u64, block: u64) -> u64 {
    let block = block.max(1);
    let wanted = max_size.max(1).div_ceil(block).saturating_mul(block);
    wanted.min(size.saturating_sub(1) / block * block)
}

/// Sets the head aside, for as long as there is something older that can make way for it; else it is given up.
fn keep_head(path: &Path, log: &mut File, head: u64, keep: u32) -> io::Result<Option<File>> {
    loop {
        match set_aside(path, log, head, keep) {
            Ok(older) => return Ok(Some(older)),
            Err(error) if is_full(&error) => {
                let oldest =
                    (1..=keep).rev().map(|number| generation(path, number)).find(|file| file.exists());
                let Some(oldest) = oldest else {
                    tracing::warn!(file = %path.display(), bytes = head, "the disk is full: the head of the log is given up");
                    return Ok(None);
                };
                tracing::warn!(file = %oldest.display(), "the disk is full: the oldest part of a log is removed");
                fs::remove_file(oldest)?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Copies the first `head` bytes into a new `FILE.1`, with the older ones moved on; leaves `log` behind them.
fn set_aside(path: &Path, log: &mut File, head: u64, keep: u32) -> io::Result<File> {
    let unfinished = generation(path, 0);
    let mut copy =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&unfinished)?;
    if let Err(error) = copy_head(log, head, &mut copy) {
        // It takes the room that is missing. An earlier one is written over, so one that stays does no other harm.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    // The first free number, or the last, whose file goes: those below it move up by one.
    let free = (1..keep).find(|&number| !generation(path, number).exists()).unwrap_or(keep);
    for number in (1..free).rev() {
        fs::rename(generation(path, number), generation(path, number + 1))?;
    }
    fs::rename(&unfinished, generation(path, 1))?;
    Ok(copy)
}

fn copy_head(log: &mut File, head: u64, copy: &mut File) -> io::Result<()> {
    log.seek(SeekFrom::Start(0))?;
    let copied = io::copy(&mut log.by_ref().take(head), copy)?;
    if copied != head {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the log became shorter while it was rotated",
        ));
    }
    // On disk before the original goes.
    copy.sync_data()
}

fn collapse(log: &File, head: u64) -> io::Result<bool> {
    use rustix::io::Errno;
    match fallocate(log, FallocateFlags::COLLAPSE_RANGE, 0, head) {
        Ok(()) => Ok(true),
        // EINVAL: its unit is larger than its block (ext4 with bigalloc, xfs on a realtime device).
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_skips::Lack;
    use std::{
        io::Write,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        thread,
    };

    const BLOCK: u64 = 4096;

    /// Everything that is in the files, the oldest first.
    fn joined(path: &Path, keep: u32) -> String {
        let older = (1..=keep).rev().map(|number| generation(path, number));
        older.chain([path.to_owned()]).map(|file| fs::read_to_string(file).unwrap_or_default()).collect()
    }

    fn line(number: usize) -> String {
        format!("line {number} of a program that talks\n")
    }

    fn lines(count: usize) -> String {
        (0..count).map(line).collect()
    }

    #[test]
    fn the_head_is_of_whole_blocks_and_never_the_whole_file() {
        assert_eq!(head_of(10_000, 5_000, BLOCK), 8192);
        assert_eq!(head_of(8192, 5_000, BLOCK), 4096);
        assert_eq!(head_of(4096, 100, BLOCK), 0);
        assert_eq!(head_of(1 << 30, 1 << 20, BLOCK), 1 << 20);
    }

    #[test]
    fn no_line_is_lost_under_a_writing_program() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let enough = Arc::new(AtomicBool::new(false));
        let writer = thread::spawn({
            let (enough, path) = (Arc::clone(&enough), path.clone());
            move || {
                let mut log = OpenOptions::new().append(true).create(true).open(path).unwrap();
                let mut written = 0;
                while !enough.load(Ordering::Relaxed) {
                    log.write_all(line(written).as_bytes()).unwrap();
                    written += 1;
                }
                written
            }
        });
        let rotation = Rotation { max_size: 4 * BLOCK, keep: 10_000 };
        let mut calls = 0;
        while calls < 10 {
            match rotate(&path, rotation).unwrap() {
                Rotated::Collapsed => calls += 1,
                Rotated::NotNeeded => thread::yield_now(),
                Rotated::Truncated => break,
            }
        }
        enough.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap();
        if calls < 10 {
            return Lack::Collapsing.skips(&format!("a collapsed log in {}", dir.path().display()));
        }
        assert_eq!(joined(&path, 1000), lines(written));
    }

    #[test]
    fn where_nothing_can_be_collapsed_the_file_is_copied_and_truncated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        log.write_all(lines(500).as_bytes()).unwrap();
        let rotation = Rotation { max_size: 2 * BLOCK, keep: 2 };
        assert_eq!(rotate_with(&path, rotation, |_, _| Ok(false)).unwrap(), Rotated::Truncated);
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        log.write_all(b"after\n").unwrap();
        assert_eq!(joined(&path, 2), format!("{}after\n", lines(500)));
    }

    #[test]
    fn only_so_many_older_files_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let rotation = Rotation { max_size: BLOCK, keep: 2 };
        for round in 0..5 {
            let mut log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
            log.write_all(format!("{round}").repeat(6000).as_bytes()).unwrap();
            assert_ne!(rotate(&path, rotation).unwrap(), Rotated::NotNeeded);
        }
        assert!(generation(&path, 2).exists());
        assert!(!generation(&path, 3).exists());
        assert_eq!(rotate(&path, Rotation { max_size: 1 << 20, keep: 2 }).unwrap(), Rotated::NotNeeded);
        assert_eq!(rotate(&dir.path().join("none.log"), rotation).unwrap(), Rotated::NotNeeded);
    }

    /// A file system of one MiB, seen by this thread alone.
    fn small_disk(at: &Path) -> bool {
        use nix::{
            mount::{MsFlags, mount},
            sched::{CloneFlags, unshare},
        };
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNS) {
            Lack::MountNamespace.skips(&format!("a small disk cannot be made ({error})"));
            return false;
        }
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        mount(Some("small"), at, Some("tmpfs"), MsFlags::empty(), Some("size=1m")).unwrap();
        true
    }

    #[test]
    fn a_log_that_filled_its_disk_makes_room_again() {
        let dir = tempfile::tempdir().unwrap();
        if !small_disk(dir.path()) {
            return;
        }
        let path = dir.path().join("a.log");
        for number in [1, 2] {
            fs::write(generation(&path, number), "old\n".repeat(25_000)).unwrap();
        }
        let mut log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        while log.write_all(&[b'x'; 4096]).is_ok() {}
        assert!(log.write_all(b"lost").is_err_and(|error| is_full(&error)));
        let free = || rustix::fs::statvfs(dir.path()).unwrap().f_bavail;
        assert_eq!(free(), 0);
        // 800 KiB of log beside two files of 100 KiB: first they make way, then the head is given up.
        let rotation = Rotation { max_size: 64 * BLOCK, keep: 2 };
        assert_eq!(rotate_with(&path, rotation, |_, _| Ok(false)).unwrap(), Rotated::Truncated);
        assert!(!generation(&path, 2).exists() && !generation(&path, 0).exists());
        assert!(free() > 0, "there is no more room than before");
        log.write_all(b"again\n").unwrap();
        assert!(fs::read_to_string(&path).unwrap().ends_with("again\n"));
    }
}
