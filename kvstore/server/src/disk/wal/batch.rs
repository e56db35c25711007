//! A batch: what one sync writes. Records go straight into the bytes that are written.
//!
//! ```text
//!  magic | crc of what follows | number u64 | length u32 | records u32 | records ... | zeros up to a sector
//! ```
//! The header's crc starts from the seed of its segment, the records' from the number of the batch: a record can be
//! encoded before it is known which segment will take it.

use super::Vote;
use super::record;
use crate::disk::Identity;
use crate::disk::files::SECTOR;

/// Bytes before the first record.
pub(super) const HEADER: usize = 24;
const MAGIC: [u8; 4] = *b"btch";
/// A buffer that grew beyond this in a burst is given back.
const KEEP_BYTES: usize = 4 * 1024 * 1024;

/// The batch that is being filled.
#[derive(Debug)]
pub(super) struct Batch {
    /// Room for the header, then records.
    bytes: Vec<u8>,
    number: u64,
    identity_seed: u32,
    seed: u32,
    records: u32,
    last_index: u64,
}

/// The header of a batch that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) number: u64,
    /// Header and records, without the padding.
    pub(super) len: usize,
    pub(super) records: u32,
}

/// Where record checksums of one batch start from.
pub(super) fn record_seed(identity_seed: u32, number: u64) -> u32 {
    crc32c::crc32c_append(identity_seed, &number.to_le_bytes())
}

/// Where checksums of one member's batches start from.
pub(super) fn identity_seed(identity: Identity) -> u32 {
    let crc = crc32c::crc32c(&identity.cluster_id.to_le_bytes());
    crc32c::crc32c_append(crc, &identity.member_id.to_le_bytes())
}

/// `len` rounded up to a sector.
pub(super) fn padded(len: usize) -> usize {
    len.next_multiple_of(SECTOR)
}

// === impl Batch ===

impl Batch {
    pub(super) fn new(identity: Identity, number: u64) -> Self {
        let identity_seed = identity_seed(identity);
        let seed = record_seed(identity_seed, number);
        Self { bytes: vec![0; HEADER], number, identity_seed, seed, records: 0, last_index: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The largest index of an entry in it; 0 if none.
    pub(super) fn last_index(&self) -> u64 {
        self.last_index
    }

    /// Bytes that it takes in a segment.
    pub(super) fn padded_len(&self) -> u64 {
        padded(self.bytes.len()) as u64
    }

    pub(super) fn push_entry(&mut self, index: u64, term: u64, kind: u8, data: &[&[u8]]) {
        record::push_entry(&mut self.bytes, self.seed, index, term, kind, data);
        self.records += 1;
        self.last_index = self.last_index.max(index);
    }

    pub(super) fn push_vote(&mut self, vote: Vote) {
        record::push_vote(&mut self.bytes, self.seed, vote);
        self.records += 1;
    }

    /// The bytes to write into a segment with this seed.
    pub(super) fn seal(&mut self, segment_seed: u32) -> &[u8] {
        let len = u32::try_from(self.bytes.len()).expect("the caller syncs long before 4 GiB");
        self.bytes[0..4].copy_from_slice(&MAGIC);
        self.bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        self.bytes[16..20].copy_from_slice(&len.to_le_bytes());
        self.bytes[20..24].copy_from_slice(&self.records.to_le_bytes());
        let crc = crc32c::crc32c_append(segment_seed, &self.bytes[8..HEADER]);
        self.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        self.bytes.resize(padded(self.bytes.len()), 0);
        &self.bytes
    }

    /// It is synced; the next one begins.
    pub(super) fn begin_next(&mut self) {
        self.number += 1;
        self.seed = record_seed(self.identity_seed, self.number);
        self.bytes.truncate(HEADER);
        self.bytes.shrink_to(KEEP_BYTES);
        self.records = 0;
        self.last_index = 0;
    }
}

// === impl BatchHeader ===

impl BatchHeader {
    /// The header at the beginning of `bytes`, if one of this segment is there.
    pub(super) fn read(bytes: &[u8], segment_seed: u32) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER>()?;
        let crc = u32::from_le_bytes(*header[4..].first_chunk()?);
        if header[..4] != MAGIC || crc32c::crc32c_append(segment_seed, &header[8..]) != crc {
            return None;
        }
        Some(Self {
            number: u64::from_le_bytes(*header[8..].first_chunk()?),
            len: u32::from_le_bytes(*header[16..].first_chunk()?) as usize,
            records: u32::from_le_bytes(*header[20..].first_chunk()?),
        })
    }
}
