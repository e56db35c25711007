//! A [`DiskFile`] as a stream, in either direction.

use std::io::{self, Read, Write};

use crate::disk::files::DiskFile;

/// A checkpoint is synced as it grows: one sync of gigabytes at its end would hold up the log's syncs for seconds.
const SYNC_BYTES: u64 = 8 * 1024 * 1024;

/// Writes a file from its beginning on.
#[derive(Debug)]
pub(super) struct Sink {
    file: Box<dyn DiskFile>,
    offset: u64,
    unsynced: u64,
}

/// Reads a file from its beginning on.
#[derive(Debug)]
pub(super) struct Source {
    file: Box<dyn DiskFile>,
    offset: u64,
}

// === impl Sink ===

impl Sink {
    pub(super) fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, offset: 0, unsynced: 0 }
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.unsynced = 0;
        self.file.sync_data()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Source ===

impl Source {
    pub(super) fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, offset: 0 }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
