//! One record: an entry or a vote.
//!
//! ```text
//!  crc32c of all that follows | length of the body | body
//!  body = 1 | kind | index | term | data        an entry
//!       = 2 | 0    | term | vote | commit       a vote
//! ```
//! Numbers are little-endian. The crc starts from the batch's seed plus the record's place in the batch.

use super::{LogEntry, Vote};

/// Crc and length.
pub(super) const PREFIX: usize = 8;
/// Tag, kind, index and term of an entry.
const ENTRY_HEAD: usize = 18;
/// Tag, zero and the three numbers of a vote.
const VOTE_BODY: usize = 26;
const ENTRY: u8 = 1;
const VOTE: u8 = 2;

/// A record that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Entry { index: u64, term: u64, kind: u8, data: &'a [u8] },
    Vote(Vote),
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The length leads out of the batch.
    Length,
    /// The crc of this many bytes does not match.
    Checksum { len: usize },
    /// The crc matches and the content makes no sense: never the disk's doing.
    Content,
}

/// Appends an entry at the end of `batch`.
pub(super) fn push_entry(batch: &mut Vec<u8>, seed: u32, index: u64, term: u64, kind: u8, data: &[&[u8]]) {
    let start = batch.len();
    let len = ENTRY_HEAD + data.iter().map(|piece| piece.len()).sum::<usize>();
    batch.reserve(PREFIX + len);
    batch.extend_from_slice(&[0; 4]);
    batch.extend_from_slice(&u32::try_from(len).expect("a request is far below 4 GiB").to_le_bytes());
    batch.extend_from_slice(&[ENTRY, kind]);
    batch.extend_from_slice(&index.to_le_bytes());
    batch.extend_from_slice(&term.to_le_bytes());
    for piece in data {
        batch.extend_from_slice(piece);
    }
    close(batch, start, seed);
}

/// Appends a vote at the end of `batch`.
pub(super) fn push_vote(batch: &mut Vec<u8>, seed: u32, vote: Vote) {
    let start = batch.len();
    batch.extend_from_slice(&[0; 4]);
    batch.extend_from_slice(&(VOTE_BODY as u32).to_le_bytes());
    batch.extend_from_slice(&[VOTE, 0]);
    for number in [vote.term, vote.vote, vote.commit] {
        batch.extend_from_slice(&number.to_le_bytes());
    }
    close(batch, start, seed);
}

/// The record at `start` of a batch, and where the next one begins.
pub(super) fn read(batch: &[u8], start: usize, seed: u32) -> Result<(Record<'_>, usize), Unreadable> {
    let rest = batch.get(start..).ok_or(Unreadable::Length)?;
    let (crc, rest) = rest.split_first_chunk::<4>().ok_or(Unreadable::Length)?;
    let (len, _) = rest.split_first_chunk::<4>().ok_or(Unreadable::Length)?;
    let len = u32::from_le_bytes(*len) as usize;
    let checked = rest.get(..4 + len).ok_or(Unreadable::Length)?;
    if crc32c::crc32c_append(place(seed, start), checked) != u32::from_le_bytes(*crc) {
        return Err(Unreadable::Checksum { len: PREFIX + len });
    }
    let record = decode(&checked[4..]).ok_or(Unreadable::Content)?;
    Ok((record, start + PREFIX + len))
}

fn close(batch: &mut [u8], start: usize, seed: u32) {
    let crc = crc32c::crc32c_append(place(seed, start), &batch[start + 4..]);
    batch[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

fn place(seed: u32, start: usize) -> u32 {
    seed.wrapping_add(start as u32)
}

fn decode(body: &[u8]) -> Option<Record<'_>> {
    let (&[tag, kind], rest) = body.split_first_chunk::<2>()?;
    let (first, rest) = number(rest)?;
    let (second, rest) = number(rest)?;
    match tag {
        ENTRY => Some(Record::Entry { index: first, term: second, kind, data: rest }),
        VOTE if kind == 0 => {
            let (commit, rest) = number(rest)?;
            rest.is_empty().then_some(Record::Vote(Vote { term: first, vote: second, commit }))
        }
        _ => None,
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*number), rest))
}

// === impl Record ===

impl Record<'_> {
    /// An entry as its reader owns it.
    pub(super) fn entry(index: u64, term: u64, kind: u8, data: &[u8]) -> LogEntry {
        LogEntry { index, term, kind, data: data.to_vec() }
    }
}
