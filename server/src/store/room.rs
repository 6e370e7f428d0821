//! Room on the disk, taken before the engine needs it.
//!
//! After a full disk the engine could not read its files again (seen once with sled 0.34.7: a commit failed for want of
//! room, then a start on the full disk; which of the two broke them is not known). So the blocks that a group of commits may need are allocated before it, behind the
//! end of the data file and in its holes, and a disk that is full is seen while everything is whole.

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
    sys::statvfs::fstatvfs,
};
use std::{fs::File, io, os::unix::fs::MetadataExt as _};

/// Bytes behind the end of the data file that are always allocated: the engine grows by segments of 2 MiB.
const RESERVE: u64 = 4 * 1024 * 1024;
/// The engine writes a change, now and then the page that it belongs to, and moves pages to other segments.
const AMPLIFICATION: u64 = 8;
/// Bytes that must be free besides when the engine is opened: it writes its snapshot into a new file.
const OPENING: u64 = 1024 * 1024;
/// Unit of `st_blocks`.
const BLOCK: u64 = 512;

/// Makes sure that changes of so many bytes fit into the data file.
pub(super) fn reserve(data: &File, bytes: usize) -> io::Result<()> {
    let wanted = RESERVE + AMPLIFICATION * bytes as u64;
    let metadata = data.metadata()?;
    let end = metadata.len() + wanted;
    if metadata.blocks() * BLOCK >= end {
        return Ok(());
    }
    let length = i64::try_from(end).map_err(io::Error::other)?;
    match fallocate(data, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length) {
        Ok(()) => Ok(()),
        // A file system that cannot promise room can still say how much there is.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => enough(data, wanted),
        Err(error) => Err(error.into()),
    }
}

/// Makes sure that the engine can be opened on the data file.
pub(super) fn reserve_for_opening(data: &File) -> io::Result<()> {
    reserve(data, 0)?;
    enough(data, OPENING)
}

fn enough(data: &File, wanted: u64) -> io::Result<()> {
    let disk = fstatvfs(data)?;
    if disk.blocks_available().saturating_mul(disk.fragment_size()) < wanted {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_allocated_behind_the_end_and_in_holes_and_the_length_stays() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1024 * 1024).unwrap();
        reserve(&file, 1000).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), 1024 * 1024);
        assert!(metadata.blocks() * BLOCK >= 1024 * 1024 + RESERVE + 8000);
    }
}
