//! Keys and values at every revision that may still be asked for.
//!
//! ```text
//!  Index (keys in order, counted) ─> Keys (name, newest version) ─> Versions (chains, and a log by revision)
//! ```
//! A write belongs to a revision; a revision is written by one transaction. Reads say at which revision they read.
//! Compaction forgets versions that no read at or after its revision can see, a slice at a time.

mod arena;
mod bytes_slab;
mod compact;
mod index;
mod keys;
mod load;
mod read;
mod versions;
mod write;

#[cfg(test)]
mod tests;

use index::Index;
use keys::Keys;
use versions::Versions;

pub(crate) use keys::KeyId;
pub(crate) use load::{KeyDump, VersionDump};
pub(crate) use read::{Kv, Order, Page, Select};
pub(crate) use write::Change;

use super::{failure::Failure, span::Span};

/// Before the first compaction, as etcd counts: a compaction to revision 0 is one.
const NEVER: i64 = -1;

#[derive(Debug)]
pub(crate) struct Store {
    keys: Keys,
    versions: Versions,
    index: Index,
    revision: i64,
    compacted: i64,
    /// Compaction has forgotten what is before this.
    swept: i64,
    /// While a checkpoint is written nothing is forgotten.
    held: bool,
    /// Accounted bytes of all that is stored.
    size: u64,
}

// === impl Store ===

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            keys: Keys::new(),
            versions: Versions::new(),
            index: Index::new(),
            revision: 1,
            compacted: NEVER,
            swept: NEVER,
            held: false,
            size: 0,
        }
    }

    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// The first revision that can be read; [`NEVER`] before the first compaction.
    pub(crate) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// Accounted bytes: keys, values, history and index.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Keys with any version, the deleted ones too.
    pub(crate) fn all_key_count(&self) -> u64 {
        self.index.from(&self.keys, &[]).count() as u64
    }

    /// Raises the revision of a store that is restored. False when it cannot be so high.
    pub(crate) fn bump(&mut self, by: i64, mark_compacted: bool) -> bool {
        let Some(revision) = self.revision.checked_add(by).filter(|revision| *revision < i64::MAX / 2) else {
            return false;
        };
        self.revision = revision;
        if mark_compacted {
            self.compacted = revision;
        }
        true
    }

    pub(crate) fn key_count(&self) -> u64 {
        self.index.live(&self.keys)
    }

    /// The revision that a request for `asked` reads at.
    ///
    /// # Errors
    /// When it is not there yet, or no longer.
    pub(crate) fn reads_at(&self, asked: i64, current: i64) -> Result<i64, Failure> {
        if asked > current {
            return Err(Failure::FutureRevision);
        }
        let revision = if asked <= 0 { current } else { asked };
        if revision < self.compacted { Err(Failure::Compacted) } else { Ok(revision) }
    }

    fn names<'a>(&'a self, span: &'a Span) -> impl Iterator<Item = KeyId> + 'a {
        self.index.from(&self.keys, span.start()).take_while(|id| span.reaches(self.keys.spell(*id)))
    }
}
