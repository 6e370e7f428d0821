//! Streams whose bytes are counted and digested on the way, up to a bound.

use handover_model::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};

/// Digests what is written through it.
pub(crate) struct DigestingWriter<W> {
    inner: W,
    hasher: Sha256,
    count: u64,
    most: u64,
    overflowed: bool,
}

impl<W: Write> DigestingWriter<W> {
    /// Lets at most `most` bytes through.
    pub(crate) fn new(inner: W, most: u64) -> Self {
        Self { inner, hasher: Sha256::new(), count: 0, most, overflowed: false }
    }

    /// Whether a write failed because it went over the bound.
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Digest and number of the bytes so far.
    pub(crate) fn finish(self) -> (Digest, u64) {
        (Digest::from_bytes(self.hasher.finalize().into()), self.count)
    }
}

impl<W: Write> Write for DigestingWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.count.saturating_add(buffer.len() as u64) > self.most {
            self.overflowed = true;
            return Err(io::Error::other("more bytes than allowed"));
        }
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Digests what is read through it, and remembers how reading failed: what wraps it may hide that.
pub(crate) struct DigestingReader<R> {
    inner: R,
    hasher: Sha256,
    count: u64,
    most: u64,
    failure: Option<ReadFailure>,
}

pub(crate) enum ReadFailure {
    /// There is more than may be.
    TooLong,
    /// The reader's own failure.
    Io(io::Error),
}

impl<R: Read> DigestingReader<R> {
    /// Reads at most `most` bytes; to come upon more is a failure.
    pub(crate) fn new(inner: R, most: u64) -> Self {
        Self { inner, hasher: Sha256::new(), count: 0, most, failure: None }
    }

    /// Reads to the end: digest and number of all bytes.
    pub(crate) fn finish(mut self) -> Result<(Digest, u64), ReadFailure> {
        let mut buffer = vec![0; 64 * 1024];
        while self.failure.is_none() {
            // A failure is remembered, and ends the loop.
            if let Ok(0) = self.read(&mut buffer) {
                break;
            }
        }
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok((Digest::from_bytes(self.hasher.finalize().into()), self.count)),
        }
    }
}

impl<R: Read> Read for DigestingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failure.is_some() {
            return Err(io::Error::other("reading has failed before"));
        }
        let read = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let told = io::Error::new(error.kind(), error.to_string());
                    self.failure = Some(ReadFailure::Io(error));
                    return Err(told);
                }
                Ok(read) => break read,
            }
        };
        self.hasher.update(&buffer[..read]);
        self.count += read as u64;
        if self.count > self.most {
            self.failure = Some(ReadFailure::TooLong);
            return Err(io::Error::other("more bytes than declared"));
        }
        Ok(read)
    }
}
