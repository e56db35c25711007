//! What outlives the process: the write-ahead log, checkpoints, and the files that both lie in.
//!
//! ```text
//!  driver ──append, vote, sync, release──> Wal ───────────┐
//!         ──frames────────────────────────> Checkpoint ───┼──> Files (RealFiles | FaultyFiles in tests)
//!         ──open, lock, recover───────────> DataDir ──────┘
//!  edge   ──frames────────────────────────> Snapshot (a stream, or the file that a user saved)
//! ```
//! Everything here blocks and knows nothing of raft, requests or keys: payloads are bytes. One rule carries the rest:
//! **bytes are trusted only after a sync that succeeded, and what a lost sync cannot explain is damage**, which is
//! refused by file and offset. Nothing is repaired by guessing, and nothing is retried after a failed sync.

mod checkpoint;
mod data_dir;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod files;
mod frames;
mod snapshot;
mod wal;

#[cfg(test)]
mod tests;

pub(crate) use checkpoint::{Checkpoint, CheckpointWriter};
pub(crate) use data_dir::{DataDir, Recovered};
pub(crate) use error::DiskError;
pub(crate) use files::{RealFiles, SharedFiles};
pub(crate) use snapshot::{SnapshotReader, SnapshotWriter};
pub(crate) use wal::{Replay, Vote, Wal, WalOptions};

/// Whose data this is. Every segment, checkpoint and snapshot begins with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The cluster; a restore mints a new one.
    pub(crate) cluster_id: u64,
    /// The member within it.
    pub(crate) member_id: u64,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cluster {:x}, member {:x}", self.cluster_id, self.member_id)
    }
}
