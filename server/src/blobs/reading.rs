//! Reading a bundle in pieces.

use super::{BlobError, blocking, error::failed, files::Files};
use handover_model::Digest;
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    sync::Arc,
};

/// Largest piece, in bytes: what the protocol sends in one message.
pub const MAX_CHUNK_BYTES: usize = 256 * 1024;

/// A bundle that is being read. Goes on to its end also where the bundle is pruned meanwhile.
#[derive(Debug)]
pub struct Reading {
    file: Arc<File>,
    path: PathBuf,
    size: u64,
}

impl Reading {
    pub(super) async fn begin(files: Arc<Files>, digest: Digest, offset: u64) -> Result<Self, BlobError> {
        blocking(move || {
            let path = files.bundle(&digest);
            let mut file = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(BlobError::Missing(digest));
                }
                opened => opened.map_err(failed("open", &path))?,
            };
            let size = file.metadata().map_err(failed("look at", &path))?.len();
            if offset > size {
                return Err(BlobError::WrongOffset { digest, offset, expected: size });
            }
            file.seek(SeekFrom::Start(offset)).map_err(failed("read", &path))?;
            Ok(Self { file: Arc::new(file), path, size })
        })
        .await
    }

    /// Bytes of the whole bundle.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next piece, of 1 to [`MAX_CHUNK_BYTES`] bytes; `None` at the end.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, BlobError> {
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        blocking(move || {
            let mut chunk = Vec::with_capacity(MAX_CHUNK_BYTES);
            let most = (&*file).take(MAX_CHUNK_BYTES as u64);
            { most }.read_to_end(&mut chunk).map_err(failed("read", &path))?;
            Ok(if chunk.is_empty() { None } else { Some(chunk) })
        })
        .await
    }
}
