//! Counting and hashing what goes by.

use std::fmt;
use std::io::{self, Read, Write};

use ring::digest::{Context, SHA256};

use super::DIGEST;

/// A reader or writer whose bytes are counted and hashed.
pub(super) struct Hashing<T> {
    inner: T,
    context: Context,
    count: u64,
}

// === impl Hashing ===

impl<T> Hashing<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, context: Context::new(&SHA256), count: 0 }
    }

    /// Bytes so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// What was wrapped, and the hash of what went by.
    pub(super) fn finish(self) -> (T, [u8; DIGEST]) {
        let mut digest = [0; DIGEST];
        digest.copy_from_slice(self.context.finish().as_ref());
        (self.inner, digest)
    }

    fn passed(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.count += bytes.len() as u64;
    }
}

impl<T> fmt::Debug for Hashing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashing").field("count", &self.count).finish_non_exhaustive()
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.passed(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.passed(&buffer[..read]);
        Ok(read)
    }
}
