//! One upload: taken in pieces, verified at its end.

use super::{BlobError, blocking, error::failed, files::Files};
use handover_bundle::{BundleError, Limits, verify};
use handover_model::BundleDescriptor;
use std::{
    fs::{File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    sync::Arc,
};

/// An upload that goes on. Dropped before its end, what has arrived stays, to go on from.
#[derive(Debug)]
pub struct Upload {
    files: Arc<Files>,
    limits: Limits,
    descriptor: BundleDescriptor,
    part: Arc<File>,
    received: u64,
    /// Once its last copy is gone, somebody else may upload the same bundle.
    claim: Arc<u64>,
}

impl Upload {
    pub(super) async fn begin(
        files: Arc<Files>,
        limits: Limits,
        descriptor: BundleDescriptor,
        claim: Arc<u64>,
    ) -> Result<Self, BlobError> {
        blocking(move || {
            let digest = descriptor.digest;
            let there = files.received(&digest)?;
            if there.complete {
                return Err(BlobError::Complete(digest));
            }
            if there.bytes > descriptor.size {
                // Left by somebody who declared another size for the same digest: one of the two is wrong.
                files.discard(&digest)?;
            }
            let path = files.part(&digest);
            let part = OpenOptions::new()
                .create(true)
                .read(true)
                .append(true)
                .mode(0o600)
                .open(&path)
                .map_err(failed("open", &path))?;
            let received = part.metadata().map_err(failed("look at", &path))?.len();
            Ok(Self { files, limits, descriptor, part: Arc::new(part), received, claim })
        })
        .await
    }

    /// Bytes that are there: where the next piece goes on.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next piece, which begins at `offset`.
    ///
    /// # Errors
    /// [`BlobError::WrongOffset`] where the part ends elsewhere; [`BlobError::TooLong`] where more arrives than the
    /// descriptor declares: then the upload is thrown away; when the disk is full or fails, what is there stays.
    pub async fn append(&mut self, offset: u64, bytes: Vec<u8>) -> Result<(), BlobError> {
        let BundleDescriptor { digest, size: declared, .. } = self.descriptor;
        if offset != self.received {
            return Err(BlobError::WrongOffset { digest, offset, expected: self.received });
        }
        let end = offset.saturating_add(bytes.len() as u64);
        let (files, part) = (Arc::clone(&self.files), Arc::clone(&self.part));
        if end > declared {
            blocking(move || part.set_len(0).map_err(failed("empty", files.part(&digest)))).await?;
            self.received = 0;
            return Err(BlobError::TooLong { digest, declared });
        }
        let claim = Arc::clone(&self.claim);
        let written = blocking(move || {
            // The thread goes on when the caller is gone: until it has ended nobody else may write to the part.
            let _claim = claim;
            let path = files.part(&digest);
            let written = (&*part).write_all(&bytes).map_err(failed("write to", &path));
            let length = part.metadata().map_err(failed("look at", &path))?.len();
            Ok((written, length))
        })
        .await;
        let (written, length) = written?;
        // A piece may have been written in part.
        self.received = length;
        written
    }

    /// Ends the upload: verifies digest, sizes and content, makes the bundle durable and gives it its place.
    ///
    /// # Errors
    /// [`BlobError::Incomplete`] where bytes are missing, and what is there stays; [`BlobError::Refused`] where it is
    /// not what it declares, and the upload is thrown away.
    pub async fn finish(self) -> Result<(), BlobError> {
        let BundleDescriptor { digest, size: declared, .. } = self.descriptor;
        if self.received < declared {
            return Err(BlobError::Incomplete { digest, bytes: self.received, declared });
        }
        blocking(move || {
            let path = self.files.part(&digest);
            let mut part = &*self.part;
            part.seek(SeekFrom::Start(0)).map_err(failed("read", &path))?;
            match verify(part, &self.descriptor, &self.limits) {
                Ok(()) => self.files.keep(&digest, &self.part),
                // The disk's fault, not the bundle's.
                Err(BundleError::Read(source)) => Err(failed("read", path)(source)),
                Err(source) => {
                    self.files.discard(&digest)?;
                    Err(BlobError::Refused { digest, source })
                }
            }
        })
        .await
    }
}
