//! Reading the log at the start: every segment in order, every byte accounted for.

mod assembly;
mod tail;

use std::path::{Path, PathBuf};

use super::batch::{self, BatchHeader};
use super::record::{self, Record};
use super::segment::{Header, SegmentName};
use super::{LogEntry, Vote};
use crate::disk::files::{DiskFile, Mode, SECTOR, SharedFiles};
use crate::disk::{DiskError, Identity};
use assembly::Assembly;

/// What the log holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Replay {
    /// Whose log it is.
    pub(crate) identity: Identity,
    /// The last vote.
    pub(crate) vote: Option<Vote>,
    /// The entries after the index that was asked for, without a gap.
    pub(crate) entries: Vec<LogEntry>,
    /// Where a sync that never ended left its traces, which are gone now.
    pub(crate) truncated: Option<(PathBuf, u64)>,
}

/// [`Replay`], and what is needed to go on writing.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) replay: Replay,
    /// Segments before the last: path and the largest index in it.
    pub(super) sealed: Vec<(PathBuf, u64)>,
    /// The last segment.
    pub(super) path: PathBuf,
    pub(super) header: Header,
    /// Where its batches end.
    pub(super) end: u64,
    pub(super) last_index: u64,
    pub(super) next_batch: u64,
    /// What must be written again, and synced, before anything that was read is acted on: see [`Read::settle`].
    unsettled: (u64, Vec<u8>),
}

/// A segment that was found.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    header: Header,
}

/// How far a segment holds.
#[derive(Debug)]
struct Scanned {
    /// Where the last batch that was taken begins.
    last_batch: usize,
    end: usize,
    next_batch: u64,
    last_index: u64,
    /// Why the batch at `end` was not taken; `None` where the segment is full.
    flaw: Option<String>,
}

/// Reads the log in `dir`.
pub(super) fn read(files: &SharedFiles, dir: &Path, after_index: u64) -> Result<Read, DiskError> {
    let mut segments = find(files, dir)?;
    let mut log = Assembly::new(after_index);
    let mut sealed = Vec::new();
    let mut bytes = Vec::new();
    for pair in segments.windows(2) {
        let [found, next] = pair else { continue };
        found.load(&mut bytes)?;
        let limit = next.header.previous_end as usize;
        let range = bytes.get(..limit).ok_or_else(|| {
            DiskError::damaged(
                &next.path,
                0,
                format!("it says that {} ends at {limit}, beyond its length", found.path.display()),
            )
        })?;
        let scanned = scan(found, range, &mut log)?;
        if let Some(flaw) = scanned.flaw {
            return Err(DiskError::damaged(&found.path, scanned.end as u64, flaw));
        }
        if scanned.next_batch != next.header.first_batch {
            let what = format!("it begins with batch {}, not {}", next.header.first_batch, scanned.next_batch);
            return Err(DiskError::damaged(&next.path, 0, what));
        }
        sealed.push((found.path.clone(), scanned.last_index));
    }
    let last = segments.pop().ok_or_else(|| DiskError::damaged(dir, 0, "it holds no segment of the log"))?;
    last.load(&mut bytes)?;
    let Scanned { last_batch, end, next_batch, last_index, flaw } = scan(&last, &bytes, &mut log)?;
    let torn = match flaw {
        Some(flaw) => tail::judge(&bytes, end, next_batch, &last.header)
            .map_err(|(offset, why)| DiskError::damaged(&last.path, offset as u64, format!("{flaw}, and {why}")))?,
        None => None,
    };
    let truncated = torn.is_some().then(|| (last.path.clone(), end as u64));
    let Assembly { vote, entries, .. } = log;
    let replay = Replay { identity: last.header.identity, vote, entries, truncated };
    let mut unsettled = bytes[last_batch..end].to_vec();
    unsettled.resize(torn.map_or(end, |torn| torn.end) - last_batch, 0);
    let unsettled = (last_batch as u64, unsettled);
    let (path, header, end) = (last.path, last.header, end as u64);
    Ok(Read { replay, sealed, path, header, end, last_index, next_batch, unsettled })
}

/// The segments of one log, in order, without a gap.
fn find(files: &SharedFiles, dir: &Path) -> Result<Vec<Found>, DiskError> {
    let mut names: Vec<_> = files
        .list(dir)
        .map_err(DiskError::io("list", dir))?
        .iter()
        .filter_map(|name| SegmentName::parse(name))
        .collect();
    names.sort();
    let mut segments: Vec<Found> = Vec::with_capacity(names.len());
    for name in names {
        let found = Found::open(files, dir.join(name.to_string()))?;
        if found.header.sequence != name.sequence {
            let what = format!("its header says that it is segment {:x}: it was renamed", found.header.sequence);
            return Err(DiskError::damaged(&found.path, 0, what));
        }
        if let Some(before) = segments.last() {
            if before.header.identity != found.header.identity {
                return Err(DiskError::OtherIdentity {
                    path: found.path,
                    found: found.header.identity,
                    beside: before.path.clone(),
                    expected: before.header.identity,
                });
            }
            if before.header.sequence + 1 != found.header.sequence {
                let what = format!("the segment before it is missing: {} comes first", before.path.display());
                return Err(DiskError::damaged(&found.path, 0, what));
            }
        }
        segments.push(found);
    }
    Ok(segments)
}

/// Takes batch after batch out of `bytes`, the segment up to where it must end.
fn scan(found: &Found, bytes: &[u8], log: &mut Assembly) -> Result<Scanned, DiskError> {
    let segment_seed = found.header.seed();
    let identity_seed = batch::identity_seed(found.header.identity);
    let mut scanned =
        Scanned { last_batch: SECTOR, end: SECTOR, next_batch: found.header.first_batch, last_index: 0, flaw: None };
    let mut records = Vec::new();
    if let Some(vote) = found.header.vote {
        log.vote(vote);
    }
    while scanned.end < bytes.len() {
        let number = scanned.next_batch;
        match read_batch(&bytes[scanned.end..], segment_seed, identity_seed, number, &mut records) {
            Ok(len) => {
                for record in records.drain(..) {
                    if let Record::Entry { index, .. } = record {
                        scanned.last_index = scanned.last_index.max(index);
                    }
                    log.take(record).map_err(|what| DiskError::damaged(&found.path, scanned.end as u64, what))?;
                }
                scanned.last_batch = scanned.end;
                scanned.end += len;
                scanned.next_batch += 1;
            }
            Err(flaw) => {
                scanned.flaw = Some(format!("batch {number} {flaw}"));
                break;
            }
        }
    }
    Ok(scanned)
}

/// The records of the batch at the beginning of `bytes`, all of them or none, and the room that it takes.
fn read_batch<'a>(
    bytes: &'a [u8],
    segment_seed: u32,
    identity_seed: u32,
    number: u64,
    records: &mut Vec<Record<'a>>,
) -> Result<usize, &'static str> {
    records.clear();
    let header = BatchHeader::read(bytes, segment_seed).ok_or("has no valid header")?;
    if header.number != number {
        return Err("is not the one that lies here");
    }
    let room = batch::padded(header.len);
    let padding = bytes.get(header.len..room).ok_or("leads out of its segment")?;
    let seed = batch::record_seed(identity_seed, number);
    let mut place = batch::HEADER;
    while place < header.len {
        let (record, next) = record::read(&bytes[..header.len], place, seed)
            .map_err(|_| "holds a record that does not match its checksum")?;
        records.push(record);
        place = next;
    }
    if records.len() != header.records as usize {
        return Err("does not hold as many records as its header says");
    }
    if padding.iter().any(|byte| *byte != 0) {
        return Err("is not followed by zeros up to the sector");
    }
    Ok(room)
}

// === impl Read ===

impl Read {
    /// Makes durable what was read, and opens the segment for writing.
    ///
    /// The last batch may have been read from the cache of the machine only: the process before this one died, or gave
    /// up because its sync failed, and a sync that failed leaves pages that no later sync writes. So the batch is written
    /// once more, with zeros over what is torn behind it, which else could mix with a batch of the same number.
    pub(super) fn settle(&mut self, files: &SharedFiles, dir: &Path) -> Result<Box<dyn DiskFile>, DiskError> {
        let mut file = files.open(&self.path, Mode::Write).map_err(DiskError::io("open", &self.path))?;
        let (offset, bytes) = std::mem::take(&mut self.unsettled);
        file.write_at(&bytes, offset).map_err(DiskError::io("write", &self.path))?;
        file.sync_data().map_err(DiskError::io("sync", &self.path))?;
        files.sync_dir(dir).map_err(DiskError::io("sync", dir))?;
        Ok(file)
    }
}

// === impl Found ===

impl Found {
    fn open(files: &SharedFiles, path: PathBuf) -> Result<Self, DiskError> {
        let file = files.open(&path, Mode::Read).map_err(DiskError::io("open", &path))?;
        let len = file.len().map_err(DiskError::io("examine", &path))?;
        let mut sector = [0; SECTOR];
        let read = file.read_at(&mut sector, 0).map_err(DiskError::io("read", &path))?;
        if read < SECTOR {
            return Err(DiskError::damaged(&path, read as u64, "the segment ends within its header"));
        }
        let header = Header::decode(&sector, &path, len)?;
        Ok(Self { path, file, header })
    }

    /// Fills `bytes` with the whole segment.
    fn load(&self, bytes: &mut Vec<u8>) -> Result<(), DiskError> {
        bytes.resize(self.header.capacity as usize, 0);
        let read = self.file.read_at(bytes, 0).map_err(DiskError::io("read", &self.path))?;
        if read < bytes.len() {
            return Err(DiskError::damaged(&self.path, read as u64, "the file ends while it is read"));
        }
        Ok(())
    }
}
