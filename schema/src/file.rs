//! Reading a file that must be an ordinary one, with a bound. Never through a link: of a folder of migrations it would lead
//! out of the release, of a secret to somebody else's.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// What stands in the file, and what the file system says of it: both of the same, opened file.
pub(crate) fn read_ordinary(path: &Path, most: u64) -> io::Result<(Metadata, Vec<u8>)> {
    // Non-blocking: opening a pipe that nobody writes to would wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file"));
    }
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")));
    }
    Ok((metadata, content))
}
