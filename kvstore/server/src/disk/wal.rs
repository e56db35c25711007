//! The write-ahead log: what raft must not forget, in segments, one write and one sync for everything that waits.
//!
//! ```text
//!  segment   = header (one sector) | batch | batch | ... | zeros up to the capacity
//!  batch     = header {magic, crc, number, length, records} | record | record | ... | zeros up to a sector
//!  record    = crc | length | entry {kind, index, term, data} or vote {term, vote, commit}
//! ```
//! - A batch is what one [`Wal::sync`] wrote. It begins at a sector, so that no sector that was synced is ever written
//!   again, and the next one is written only after its sync succeeded: at most one batch is in flight, the last.
//! - Batches are numbered through the life of the log, and a record's crc starts from the number of its batch and its
//!   place in it: bytes of another batch, place or segment never pass for this one's.
//! - A segment is full of synced zeros before its name says that it is in use. A sector that a crash lost is therefore a
//!   sector of zeros, and `replay/tail.rs` can tell what a lost sync leaves from what only damage leaves.
//! - A segment's header says where the one before it ended and which batch comes next: a log that lost its tail, or a
//!   segment in its middle, does not read as a shorter log.
//!
//! It deliberately does not compress, index, or read what it wrote: the log is read once, at the start.

mod active;
mod batch;
mod housekeeping;
mod options;
mod record;
mod replay;
mod segment;

use std::path::{Path, PathBuf};

pub(crate) use options::{Prepare, WalOptions};
pub(crate) use replay::Replay;

use super::files::{SECTOR, SharedFiles};
use super::{DiskError, Identity};
use active::Active;
use batch::Batch;
use housekeeping::Housekeeping;
use segment::{Header, SegmentName};

/// One entry of raft's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogEntry {
    /// Its place in the log.
    pub(crate) index: u64,
    /// The term of the leader that appended it.
    pub(crate) term: u64,
    /// The caller's: an ordinary entry or a change of configuration.
    pub(crate) kind: u8,
    /// The caller's.
    pub(crate) data: Vec<u8>,
}

/// Raft's hard state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Vote {
    /// The latest term seen.
    pub(crate) term: u64,
    /// Who got the vote in it; 0 for nobody.
    pub(crate) vote: u64,
    /// What is known to be committed.
    pub(crate) commit: u64,
}

/// The log of one member, open for appending.
#[derive(Debug)]
pub(crate) struct Wal {
    files: SharedFiles,
    dir: PathBuf,
    options: WalOptions,
    /// Older segments, oldest first.
    sealed: Vec<Sealed>,
    active: Active,
    batch: Batch,
    house: Housekeeping,
    /// The last vote that was synced; a new segment begins with it.
    vote: Option<Vote>,
    /// The vote in the batch.
    next_vote: Option<Vote>,
    poisoned: bool,
}

/// A segment that takes no more batches.
#[derive(Debug)]
struct Sealed {
    path: PathBuf,
    /// The largest index of an entry in it; 0 if none.
    last_index: u64,
}

// === impl Wal ===

impl Wal {
    /// An empty log in `dir`, which is there and holds none.
    pub(crate) fn create(files: SharedFiles, dir: &Path, identity: Identity) -> Result<Self, DiskError> {
        Self::create_with(files, dir, identity, WalOptions::default())
    }

    /// [`Wal::create`] with options.
    pub(crate) fn create_with(
        files: SharedFiles,
        dir: &Path,
        identity: Identity,
        options: WalOptions,
    ) -> Result<Self, DiskError> {
        let options = options.aligned();
        let header = Header::first(identity, options.segment_bytes);
        let mut house = Housekeeping::new(&files, dir, &options);
        house.sweep()?;
        let active = Active::begin(&files, dir, &mut house, header)?;
        let batch = Batch::new(header.identity, header.first_batch);
        let dir = dir.to_owned();
        Ok(Self {
            files,
            dir,
            options,
            sealed: Vec::new(),
            active,
            batch,
            house,
            vote: None,
            next_vote: None,
            poisoned: false,
        })
    }

    /// Reads the log in `dir`, makes durable what it read, and opens it for appending. Entries up to `after_index` are in a
    /// checkpoint and left out.
    ///
    /// # Errors
    /// Damage, an unknown version, a gap after `after_index`, or the file system's.
    pub(crate) fn open(files: SharedFiles, dir: &Path, after_index: u64) -> Result<(Self, Replay), DiskError> {
        Self::open_with(files, dir, after_index, WalOptions::default())
    }

    /// [`Wal::open`] with options.
    pub(crate) fn open_with(
        files: SharedFiles,
        dir: &Path,
        after_index: u64,
        options: WalOptions,
    ) -> Result<(Self, Replay), DiskError> {
        let options = options.aligned();
        let house = Housekeeping::new(&files, dir, &options);
        house.sweep()?;
        let mut read = replay::read(&files, dir, after_index)?;
        let file = read.settle(&files, dir)?;
        let active = Active { file, path: read.path, header: read.header, end: read.end, last_index: read.last_index };
        let mut wal = Self {
            files,
            dir: dir.to_owned(),
            options,
            sealed: read.sealed.into_iter().map(|(path, last_index)| Sealed { path, last_index }).collect(),
            active,
            batch: Batch::new(read.replay.identity, read.next_batch),
            house,
            vote: read.replay.vote,
            next_vote: None,
            poisoned: false,
        };
        wal.keep_house();
        Ok((wal, read.replay))
    }

    /// Reads the log in `dir` and changes nothing: for tools, and for a writer that compares what it wrote. Nobody may
    /// append meanwhile, or a batch that is half there passes for a torn one.
    pub(crate) fn inspect(files: &SharedFiles, dir: &Path, after_index: u64) -> Result<Replay, DiskError> {
        Ok(replay::read(files, dir, after_index)?.replay)
    }

    /// Whether `dir` holds a log.
    pub(crate) fn exists(files: &SharedFiles, dir: &Path) -> Result<bool, DiskError> {
        let names = files.list(dir).map_err(DiskError::io("list", dir))?;
        Ok(names.iter().any(|name| SegmentName::parse(name).is_some()))
    }

    /// Buffers entries (index, term, kind, data in pieces). An index that the log has already replaces it and all after
    /// it, as raft does. The caller syncs long before 4 GiB are buffered: its queue is bounded.
    pub(crate) fn append_entries<'a, D: AsRef<[&'a [u8]]>>(
        &mut self,
        entries: impl Iterator<Item = (u64, u64, u8, D)>,
    ) {
        for (index, term, kind, data) in entries {
            self.batch.push_entry(index, term, kind, data.as_ref());
        }
    }

    /// Buffers a vote.
    pub(crate) fn set_vote(&mut self, vote: Vote) {
        self.batch.push_vote(vote);
        self.next_vote = Some(vote);
    }

    /// Makes everything buffered durable, or nothing of it. With nothing buffered it does nothing.
    ///
    /// # Errors
    /// Whatever fails here fails for good: what the disk holds is unknown, and every later call is
    /// [`DiskError::Poisoned`]. The process must stop.
    pub(crate) fn sync(&mut self) -> Result<(), DiskError> {
        self.guarded(Self::sync_batch)
    }

    /// Gives back the segments whose entries are all at or before `index`. To be called only once a checkpoint of that
    /// index and its directory are synced. A thread removes them; that it cannot is told by
    /// [`Wal::take_housekeeping_failure`] and costs room, not safety.
    ///
    /// # Errors
    /// [`DiskError::Poisoned`].
    pub(crate) fn release(&mut self, index: u64) -> Result<(), DiskError> {
        self.guarded(|wal| {
            let free = wal.sealed.iter().take_while(|segment| segment.last_index <= index).count();
            wal.house.release(wal.sealed.drain(..free).map(|segment| segment.path));
            Ok(())
        })
    }

    /// The data of whom.
    pub(crate) fn identity(&self) -> Identity {
        self.active.header.identity
    }

    /// Number of segments in use.
    pub(crate) fn segments(&self) -> usize {
        self.sealed.len() + 1
    }

    /// The latest failure to prepare the next segment or to remove old ones, such as a full disk: told while there is
    /// still room in the active one, so that the caller can refuse writes before the log must stop.
    pub(crate) fn take_housekeeping_failure(&mut self) -> Option<DiskError> {
        self.house.take_failure()
    }

    fn guarded(&mut self, act: impl FnOnce(&mut Self) -> Result<(), DiskError>) -> Result<(), DiskError> {
        if self.poisoned {
            return Err(DiskError::Poisoned { path: self.dir.clone() });
        }
        let result = act(self);
        self.poisoned = result.is_err();
        result
    }

    fn sync_batch(&mut self) -> Result<(), DiskError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let needed = self.batch.padded_len();
        if self.active.end + needed > self.active.header.capacity {
            self.roll(needed)?;
        }
        let Active { file, path, header, end, last_index } = &mut self.active;
        let bytes = self.batch.seal(header.seed());
        file.write_at(bytes, *end).map_err(DiskError::io("write", path))?;
        if self.options.sync {
            file.sync_data().map_err(DiskError::io("sync", path))?;
        }
        *end += needed;
        *last_index = (*last_index).max(self.batch.last_index());
        self.vote = self.next_vote.take().or(self.vote);
        self.batch.begin_next();
        self.keep_house();
        Ok(())
    }

    /// Begins the next segment, with room for a batch of `needed` bytes. Every batch so far is synced, which is what
    /// the next header states.
    fn roll(&mut self, needed: u64) -> Result<(), DiskError> {
        let capacity = self.options.segment_bytes.max(SECTOR as u64 + needed);
        let header = self.active.header.next(capacity, self.batch.number(), self.active.end, self.vote);
        let next = Active::begin(&self.files, &self.dir, &mut self.house, header)?;
        let full = std::mem::replace(&mut self.active, next);
        self.sealed.push(Sealed { path: full.path, last_index: full.last_index });
        Ok(())
    }

    /// A log that never fills half a segment never takes the room of two.
    fn keep_house(&mut self) {
        self.house.tidy();
        if self.active.end * 2 >= self.active.header.capacity {
            self.house.prepare();
        }
    }
}
