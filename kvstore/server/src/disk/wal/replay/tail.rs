//! Torn or damaged: what the first batch that does not read means, in the last segment.
//!
//! What is known of a segment in use: it was all synced zeros before its first batch; batches begin at sectors; batch
//! k + 1 is written only after the sync of batch k succeeded. So if the power went while batch k was in flight, then
//! - every batch before k is whole;
//! - each sector of batch k is as written or still zeros, independently of the others;
//! - everything behind batch k is zeros.
//!
//! Only that is torn, and dropped: nobody was told that batch k is durable. All else is damage and refused, above all
//! - something behind batch k, which proves that k was synced: dropping it would lose what was acknowledged;
//! - a record that fails its checksum though none of its sectors is missing: a bit that flipped, not a lost sector.
//!
//! Two things cannot be told from torn: loss of the first sector of the very last batch, and damage in it to a record
//! that also has a sector of zeros.

use std::ops::Range;

use super::super::batch::{self, BatchHeader};
use super::super::record::{self, PREFIX, Unreadable};
use super::super::segment::Header;
use crate::disk::files::SECTOR;

/// Where damage begins, and why it is damage.
type Damage = (usize, &'static str);

const SYNCED: &str = "something lies behind it, so it had been synced";
const FLIPPED: &str = "no sector of it is missing, so it is not torn";

/// Judges what lies from `end` to the end of `segment`, where batch `number` was expected and did not read: nothing
/// (`None`), traces of a torn batch (the range to clear), or damage.
pub(super) fn judge(segment: &[u8], end: usize, number: u64, header: &Header) -> Result<Option<Range<usize>>, Damage> {
    let Some(used) = last_used_sector(segment, end) else { return Ok(None) };
    let torn = end..used;
    if is_zero(&segment[end..end + SECTOR]) {
        // The first sector is missing: how long the batch was is not known, and one that came later gives itself away.
        let seed = header.seed();
        let later = (end..used).step_by(SECTOR).any(|at| BatchHeader::read(&segment[at..], seed).is_some());
        return if later { Err((end, SYNCED)) } else { Ok(Some(torn)) };
    }
    let found = BatchHeader::read(&segment[end..], header.seed()).filter(|found| found.number == number);
    let found = found.ok_or((end, FLIPPED))?;
    if used > end + batch::padded(found.len) {
        return Err((end, SYNCED));
    }
    let bytes = segment.get(end..end + found.len).ok_or((end, FLIPPED))?;
    let seed = batch::record_seed(batch::identity_seed(header.identity), number);
    let missing = |range: Range<usize>| misses_sector(segment, end + range.start..end + range.end);
    let mut place = batch::HEADER;
    while place < bytes.len() {
        match record::read(bytes, place, seed) {
            Ok((_, next)) => place = next,
            Err(_) if missing(place..place + PREFIX) => return Ok(Some(torn)),
            Err(Unreadable::Checksum { len }) if missing(place..place + len) => return Ok(Some(torn)),
            Err(_) => return Err((end + place, FLIPPED)),
        }
    }
    Err((end, FLIPPED))
}

/// Where the last sector from `start` on that is not all zeros ends.
fn last_used_sector(segment: &[u8], start: usize) -> Option<usize> {
    let used = segment[start..].rchunks(SECTOR).position(|sector| !is_zero(sector))?;
    Some(segment.len() - used * SECTOR)
}

/// Whether one of the sectors that `range` touches is all zeros.
fn misses_sector(segment: &[u8], range: Range<usize>) -> bool {
    let mut sectors = segment.chunks(SECTOR).take(range.end.div_ceil(SECTOR)).skip(range.start / SECTOR);
    sectors.any(is_zero)
}

/// By words, since most of a segment is zeros and all of it is looked at.
fn is_zero(sector: &[u8]) -> bool {
    let (words, rest) = sector.as_chunks::<16>();
    words.iter().fold(0, |any, word| any | u128::from_ne_bytes(*word)) == 0 && rest.iter().all(|byte| *byte == 0)
}
