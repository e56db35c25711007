//! Snapshots: the frames of a checkpoint as one stream that a user keeps, and later restores from.
//!
//! ```text
//!  frames (header, frames, trailer) | zeros up to a multiple of 512 | sha256 of all before it
//! ```
//! That is how stock `etcdctl snapshot save` tells a whole stream: its length leaves 32 when divided by 512. It stores
//! the stream as it comes, so what it saved can be restored here.

mod hashing;
mod reader;

use std::io::{self, Write};

use super::Identity;
use super::files::SECTOR;
use super::frames::{FrameHeader, FrameWriter, Kind};
use hashing::Hashing;
pub(crate) use reader::SnapshotReader;

/// Length of a sha256.
const DIGEST: usize = 32;

/// A snapshot that is being written into a file or a stream.
#[derive(Debug)]
pub(crate) struct SnapshotWriter<W> {
    frames: FrameWriter<Hashing<W>>,
}

// === impl SnapshotWriter ===

impl<W: Write> SnapshotWriter<W> {
    /// Begins the snapshot of `index`, at which the term was `term`.
    pub(crate) fn new(to: W, identity: Identity, index: u64, term: u64) -> io::Result<Self> {
        let header = FrameHeader { identity, index, term };
        Ok(Self { frames: FrameWriter::new(Hashing::new(to), Kind::Snapshot, &header)? })
    }

    /// Writes one frame.
    pub(crate) fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.frames.write(frame)
    }

    /// Writes what makes it complete, and gives back what was written to.
    pub(crate) fn finish(self) -> io::Result<W> {
        let mut hashed = self.frames.finish()?;
        let padding = hashed.count().next_multiple_of(SECTOR as u64) - hashed.count();
        hashed.write_all(&[0; SECTOR][..padding as usize])?;
        let (mut to, digest) = hashed.finish();
        to.write_all(&digest)?;
        to.flush()?;
        Ok(to)
    }
}
