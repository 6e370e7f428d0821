//! Small disks that a test fills, in a mount namespace of its own.

use handover_skips::Lack;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// A disk in memory, seen by the thread that made it and by its children.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many bytes; `None`, and a line that says so, where that is not permitted.
    #[must_use]
    pub fn mount(at: &Path, size: u64) -> Option<Self> {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNS) {
            Lack::MountNamespace.skips(&format!("a small disk cannot be made ({error})"));
            return None;
        }
        // What is mounted here stays here.
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        mount(Some("small"), at, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();
        Some(Self { at: at.to_owned() })
    }

    /// Shows a folder of the disk somewhere else, too.
    pub fn show(&self, folder: &str, at: &Path) {
        let own = self.at.join(folder);
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(at).unwrap();
        mount(Some(&own), at, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    }

    /// Bytes that are left.
    #[must_use]
    pub fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.at).unwrap();
        found.f_bavail * found.f_frsize
    }

    /// Takes every byte that is left.
    pub fn fill(&self) {
        self.take(u64::MAX);
    }

    /// Takes what is left but for so many bytes.
    pub fn fill_but(&self, left: u64) {
        self.take(self.free().saturating_sub(left));
    }

    /// Gives back what was taken.
    pub fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    fn take(&self, mut bytes: u64) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.filler()).unwrap();
        for size in [1024 * 1024, 4096, 1] {
            let piece = vec![1; size];
            while bytes >= size as u64 {
                match file.write_all(&piece) {
                    Ok(()) => bytes -= size as u64,
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}
