//! From a data directory to a core: the checkpoint's state, and the log behind it for raft to go on with.

use std::{path::Path, time::Instant};

use raft::eraftpb::{Entry, HardState};

use super::Checkpoints;
use crate::{
    core::{
        Core, Limits,
        checkpoint::{self, CheckpointError},
        consensus::Consensus,
        raft_log::RaftLog,
        state::State,
    },
    disk::{self, DataDir, DiskError, Identity, SharedFiles, Wal, WalOptions},
};

/// A member that can run.
pub(crate) struct Recovered {
    pub(crate) core: Core,
    pub(super) wal: Wal,
    pub(super) checkpoints: Checkpoints,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error(transparent)]
    Disk(Box<dyn std::error::Error + Send + Sync>),
    #[error("{path}: {source}")]
    Checkpoint { path: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the log does not continue what is stored: {0}")]
    Raft(String),
}

#[derive(Debug, thiserror::Error)]
enum FrameError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Contents(#[from] CheckpointError),
}

/// Opens the directory, or begins a new member in it with the identity that `fresh` gives.
///
/// # Errors
/// When the directory is another's, damaged, or not to be used.
pub(crate) fn recover(
    (files, path): (SharedFiles, &Path),
    options: WalOptions,
    limits: Limits,
    fresh: impl FnOnce() -> Identity,
) -> Result<Recovered, RecoverError> {
    let dir = DataDir::open(files, path).map_err(of_disk)?;
    let now = Instant::now();
    let (state, wal, log, last) = match dir.recover(options).map_err(of_disk)? {
        disk::Recovered::Fresh => {
            let identity = fresh();
            let wal = dir.create_wal(identity, options).map_err(of_disk)?;
            let state = State::new(identity.cluster_id, identity.member_id);
            let log = RaftLog::new(vec![identity.member_id], HardState::default(), (0, 0), Vec::new());
            (state, wal, log, 0)
        }
        disk::Recovered::Existing(existing) => {
            let identity = existing.replay.identity;
            let (state, last) = match existing.checkpoint {
                Some(checkpoint) => load(now, checkpoint)?,
                None => (State::new(identity.cluster_id, identity.member_id), 0),
            };
            if let Some((path, offset)) = &existing.replay.truncated {
                tracing::info!(path = %path.display(), offset, "a sync that never ended was cut off");
            }
            let vote = existing.replay.vote.unwrap_or_default();
            // Raft takes this for a mistake of ours, and panics.
            let end = existing.replay.entries.last().map_or(last, |entry| entry.index);
            if vote.commit > end {
                let rule =
                    format!("it says that entry {} is agreed, and ends at {end}: entries are missing", vote.commit);
                return Err(RecoverError::Raft(rule));
            }
            let hard_state = HardState { term: vote.term, vote: vote.vote, commit: vote.commit };
            let entries = existing.replay.entries.into_iter().map(|entry| Entry {
                entry_type: i32::from(entry.kind),
                term: entry.term,
                index: entry.index,
                data: entry.data,
                ..Entry::default()
            });
            let before = (last, state.applied_term);
            let log = RaftLog::new(vec![identity.member_id], hard_state, before, entries.collect());
            (state, existing.wal, log, last)
        }
    };
    let identity = wal.identity();
    let consensus = Consensus::new(identity.member_id, log, last, rand::random())
        .map_err(|error| RecoverError::Raft(error.to_string()))?;
    let core = Core::new(consensus, state, limits, rand::random());
    Ok(Recovered { core, wal, checkpoints: Checkpoints::new(dir, identity, last) })
}

fn load(now: Instant, mut checkpoint: disk::Checkpoint) -> Result<(State, u64), RecoverError> {
    let path = checkpoint.path().display().to_string();
    let index = checkpoint.index();
    let frames =
        std::iter::from_fn(|| checkpoint.next_frame().transpose().map(|frame| frame.map_err(FrameError::from)));
    let state = checkpoint::load::<FrameError>(now, frames)
        .map_err(|error| RecoverError::Checkpoint { path, source: Box::new(error) })?;
    Ok((state, index))
}

fn of_disk(error: DiskError) -> RecoverError {
    RecoverError::Disk(Box::new(error))
}
