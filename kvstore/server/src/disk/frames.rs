//! A stream of opaque frames that says when it is complete: what checkpoints and snapshots are made of.
//!
//! ```text
//!  header  = magic | version | crc of the rest | cluster | member | index | term | zeros up to 64 bytes
//!  frame   = crc | length | bytes                     the crc starts from the header's, plus the frame's number
//!  trailer = crc | u32::MAX | frames | bytes | crc over the crcs of all frames
//! ```
//! A frame cannot be lost, repeated, moved or taken from another stream without the reader saying so, and the reader says
//! "no more frames" only after a trailer that counts what it saw.

mod reader;
mod writer;

use std::path::Path;

use super::{DiskError, Identity};
pub(super) use reader::FrameReader;
pub(super) use writer::FrameWriter;

/// Length of the header.
pub(super) const HEADER: usize = 64;
/// Length of a frame without its bytes.
const PREFIX: usize = 8;
/// Stands where a frame has its length.
const END: u32 = u32::MAX;
/// Length of the trailer.
const TRAILER: usize = 28;
const VERSION: u32 = 1;

/// Which file a stream lies in; one is never read as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Checkpoint,
    Snapshot,
}

/// What the stream is the state of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) identity: Identity,
    pub(super) index: u64,
    pub(super) term: u64,
}

/// What has gone by: the trailer states it, the reader compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tally {
    seed: u32,
    frames: u64,
    bytes: u64,
    crcs: u32,
}

// === impl Kind ===

impl Kind {
    pub(super) fn magic(self) -> [u8; 8] {
        match self {
            Self::Checkpoint => *b"cwaychk\n",
            Self::Snapshot => *b"cwaysnp\n",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Snapshot => "snapshot",
        }
    }
}

// === impl FrameHeader ===

impl FrameHeader {
    pub(super) fn encode(&self, kind: Kind) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&kind.magic());
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let numbers = [self.identity.cluster_id, self.identity.member_id, self.index, self.term];
        for (place, number) in header[16..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let crc = checksum(&header);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// As with segments, the checksum lies in the same place in every version and is looked at before the version.
    pub(super) fn decode(header: &[u8; HEADER], kind: Kind, path: &Path) -> Result<Self, DiskError> {
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let number = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if header[..8] != kind.magic() {
            return Err(DiskError::damaged(path, 0, format!("it does not begin as a {} does", kind.name())));
        }
        if word(12) != checksum(header) {
            return Err(DiskError::damaged(path, 0, "the checksum of its header does not match"));
        }
        if word(8) != VERSION {
            return Err(DiskError::UnknownVersion { path: path.to_owned(), found: word(8), known: VERSION });
        }
        let identity = Identity { cluster_id: number(16), member_id: number(24) };
        Ok(Self { identity, index: number(32), term: number(40) })
    }
}

fn checksum(header: &[u8; HEADER]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..])
}

// === impl Tally ===

impl Tally {
    fn new(header: &[u8; HEADER]) -> Self {
        Self { seed: checksum(header), frames: 0, bytes: 0, crcs: 0 }
    }

    /// The crc of the next frame.
    fn checksum(&self, frame: &[u8]) -> u32 {
        let seed = self.seed.wrapping_add(self.frames as u32);
        let crc = crc32c::crc32c_append(seed, &(frame.len() as u32).to_le_bytes());
        crc32c::crc32c_append(crc, frame)
    }

    fn count(&mut self, frame: &[u8], crc: u32) {
        self.frames += 1;
        self.bytes += frame.len() as u64;
        self.crcs = crc32c::crc32c_append(self.crcs, &crc.to_le_bytes());
    }

    fn trailer(&self) -> [u8; TRAILER] {
        let mut trailer = [0; TRAILER];
        trailer[4..8].copy_from_slice(&END.to_le_bytes());
        trailer[8..16].copy_from_slice(&self.frames.to_le_bytes());
        trailer[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        trailer[24..28].copy_from_slice(&self.crcs.to_le_bytes());
        let crc = crc32c::crc32c_append(self.seed, &trailer[4..]);
        trailer[..4].copy_from_slice(&crc.to_le_bytes());
        trailer
    }
}
