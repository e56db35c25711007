//! The first sector of a segment: whose it is, and what it follows.
//!
//! For every version, past and future: 8 bytes of magic, the version, and a crc over the rest of the sector with the
//! version. Only then is the version looked at: a flipped bit is damage, not a newer release.

use std::fmt;
use std::path::Path;

use super::Vote;
use crate::disk::files::SECTOR;
use crate::disk::{DiskError, Identity};

const MAGIC: [u8; 8] = *b"cwaywal\n";
const VERSION: u32 = 1;
const SUFFIX: &str = ".wal";

/// The name of a segment: its number in hexadecimal, so that names sort as numbers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentName {
    pub(super) sequence: u64,
}

/// What the first sector says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) identity: Identity,
    /// One more than the segment before it.
    pub(super) sequence: u64,
    /// Drawn anew for each segment and part of its seed: who sends us values cannot know what a batch header in this
    /// segment looks like.
    salt: u64,
    /// Length of the file.
    pub(super) capacity: u64,
    /// The number of its first batch.
    pub(super) first_batch: u64,
    /// Where the last batch of the segment before it ends; 0 in the first segment.
    pub(super) previous_end: u64,
    /// The vote when it began: the record of it may lie in a segment that is gone.
    pub(super) vote: Option<Vote>,
}

// === impl SegmentName ===

impl SegmentName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 16)?;
        u64::from_str_radix(digits, 16).ok().map(|sequence| Self { sequence })
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{SUFFIX}", self.sequence)
    }
}

// === impl Header ===

impl Header {
    /// Of the first segment of a log.
    pub(super) fn first(identity: Identity, capacity: u64) -> Self {
        Self { identity, sequence: 1, salt: rand::random(), capacity, first_batch: 1, previous_end: 0, vote: None }
    }

    /// Of the segment after this one.
    pub(super) fn next(&self, capacity: u64, first_batch: u64, previous_end: u64, vote: Option<Vote>) -> Self {
        let sequence = self.sequence + 1;
        Self { identity: self.identity, sequence, salt: rand::random(), capacity, first_batch, previous_end, vote }
    }

    /// Where the checksums of its batch headers start from.
    pub(super) fn seed(&self) -> u32 {
        let crc = super::batch::identity_seed(self.identity);
        let crc = crc32c::crc32c_append(crc, &self.sequence.to_le_bytes());
        crc32c::crc32c_append(crc, &self.salt.to_le_bytes())
    }

    pub(super) fn encode(&self) -> [u8; SECTOR] {
        let vote = self.vote.unwrap_or_default();
        let mut sector = [0; SECTOR];
        sector[..8].copy_from_slice(&MAGIC);
        sector[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let numbers = [
            self.identity.cluster_id,
            self.identity.member_id,
            self.sequence,
            self.salt,
            self.capacity,
            self.first_batch,
            self.previous_end,
            u64::from(self.vote.is_some()),
            vote.term,
            vote.vote,
            vote.commit,
        ];
        for (place, number) in sector[16..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let crc = checksum(&sector);
        sector[12..16].copy_from_slice(&crc.to_le_bytes());
        sector
    }

    /// Reads the first sector of the file at `path`, which is `len` bytes long.
    pub(super) fn decode(sector: &[u8; SECTOR], path: &Path, len: u64) -> Result<Self, DiskError> {
        let word = |at: usize| u32::from_le_bytes([sector[at], sector[at + 1], sector[at + 2], sector[at + 3]]);
        if sector[..8] != MAGIC {
            return Err(DiskError::damaged(path, 0, "it does not begin as a segment of the log does"));
        }
        if word(12) != checksum(sector) {
            return Err(DiskError::damaged(path, 0, "the checksum of the segment header does not match"));
        }
        if word(8) != VERSION {
            return Err(DiskError::UnknownVersion { path: path.to_owned(), found: word(8), known: VERSION });
        }
        let number = |place: usize| u64::from(word(16 + place * 8)) | u64::from(word(20 + place * 8)) << 32;
        let header = Self {
            identity: Identity { cluster_id: number(0), member_id: number(1) },
            sequence: number(2),
            salt: number(3),
            capacity: number(4),
            first_batch: number(5),
            previous_end: number(6),
            vote: (number(7) != 0).then(|| Vote { term: number(8), vote: number(9), commit: number(10) }),
        };
        if header.capacity < SECTOR as u64 || !header.capacity.is_multiple_of(SECTOR as u64) {
            return Err(DiskError::damaged(path, 0, format!("no segment is {} bytes long", header.capacity)));
        }
        if header.capacity != len {
            let what = format!("the file is {len} bytes long and its header says {}", header.capacity);
            return Err(DiskError::damaged(path, len.min(header.capacity), what));
        }
        Ok(header)
    }
}

fn checksum(sector: &[u8; SECTOR]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&sector[..12]), &sector[16..])
}
