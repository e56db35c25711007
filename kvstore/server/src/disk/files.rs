//! The seam to the file system: what the disk layer needs, and no more.
//!
//! Rules that callers rely on, and that a fake must break for whoever does not follow them:
//! - bytes written are durable after [`DiskFile::sync_data`] returned `Ok`, not before; each 512-byte sector by itself;
//! - a name (created, renamed, removed) is durable after [`Files::sync_dir`] of its directory returned `Ok`;
//! - a sync that failed may have lost what it was to write, and the next one will not say so.

mod real;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub(crate) use real::RealFiles;

/// What a disk writes whole or not at all. Larger on many disks, never smaller.
pub(crate) const SECTOR: usize = 512;

/// The file system, as it is handed around.
pub(crate) type SharedFiles = Arc<dyn Files>;

/// What `open` expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The file is there and is read.
    Read,
    /// The file is there and is read and written.
    Write,
    /// The file is not there; it is created, readable by its owner only.
    CreateNew,
}

/// Names and the files behind them.
pub(crate) trait Files: Debug + Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>>;
    /// Creates a directory for its owner only. One that is there already is `AlreadyExists`.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Permission bits.
    fn mode(&self, path: &Path) -> io::Result<u32>;
    /// Gives a file another name in one step, over a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock of this file, creating it, until the answer is dropped or the process ends. `WouldBlock` while
    /// another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// One open file.
pub(crate) trait DiskFile: Debug + Send {
    /// Reads up to the buffer's length; less only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of it.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the file exactly `len` bytes long, which is not 0, and every byte of it zero, with blocks that later writes reuse: those
    /// need no room and no change of metadata. Not durable before a sync.
    fn zero_fill(&mut self, len: u64) -> io::Result<()>;
    /// Makes the bytes, and a length that changed, durable.
    fn sync_data(&mut self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
}

/// A lock that is held.
pub(crate) trait Lock: Debug + Send {}
