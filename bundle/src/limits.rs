//! How much a bundle may be.

use crate::BundleError;
use handover_model::BundleDescriptor;

/// Longest path of an entry in bytes: `PATH_MAX` of linux/limits.h without its zero byte.
pub(crate) const MAX_PATH: usize = 4095;
/// Longest component of a path in bytes: `NAME_MAX` of linux/limits.h.
pub(crate) const MAX_COMPONENT: usize = 255;
/// Most components of a path.
pub(crate) const MAX_DEPTH: usize = 128;

/// How much a bundle may be. The default is what a server and an agent take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the archive.
    pub archive: u64,
    /// Bytes of all regular files together.
    pub unpacked: u64,
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of all names and link targets together, each name counted without its directory. What a check of the
    /// bundle keeps in memory grows with it.
    pub names: u64,
}

impl Default for Limits {
    /// An archive of 2 GiB, 4 GiB of files, 200,000 entries, 64 MiB of names.
    fn default() -> Self {
        Self { archive: 2 << 30, unpacked: 4 << 30, entries: 200_000, names: 64 << 20 }
    }
}

impl Limits {
    /// Refuses what already declares itself to be too large.
    pub(crate) fn check(&self, bundle: &BundleDescriptor) -> Result<(), BundleError> {
        let amounts = [
            ("bytes of archive", bundle.size, self.archive),
            ("bytes of files", bundle.unpacked, self.unpacked),
            ("entries", bundle.entries, self.entries),
        ];
        match amounts.into_iter().find(|(_, declared, most)| declared > most) {
            Some((what, declared, most)) => Err(BundleError::TooLarge { what, declared, most }),
            None => Ok(()),
        }
    }
}
