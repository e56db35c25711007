//! Snapshot files, apart from a running store: what one holds, and a new member that begins with it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use crate::{
    core::checkpoint::{self, CheckpointError, Checkpointer},
    disk::{CheckpointWriter, DataDir, DiskError, Identity, RealFiles, Recovered, SnapshotReader, Vote, WalOptions},
    identity::identity,
};

/// Where the log of a restored member begins: at no index that a lost one used is anything presumed.
const FIRST: (u64, u64) = (1, 1);

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// CRC-32C of what is stored, at its revision.
    pub hash: u32,
    pub revision: i64,
    /// Keys, deleted ones included as far as their history is there.
    pub total_keys: u64,
    pub total_bytes: u64,
    pub cluster_id: u64,
}

/// How a member is restored.
#[derive(Debug, Clone, Default)]
pub struct Restore {
    pub data_dir: PathBuf,
    /// A cluster id is always a new one; with a token it follows from that.
    pub initial_cluster_token: Option<String>,
    pub initial_advertise_peer_urls: Vec<String>,
    /// Added to the revision: clients that saw later ones than the snapshot must never see them again.
    pub bump_revision: i64,
    /// Watches that begin before the restored revision are cancelled, so that their owners list anew.
    pub mark_compacted: bool,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Disk(Box<dyn std::error::Error + Send + Sync>),
    #[error("{path}: {source}")]
    Contents { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{0} holds a member already: restore into a directory that is empty or not there")]
    Taken(PathBuf),
    #[error("revision {revision} of the snapshot cannot be raised by {by}")]
    Bump { revision: i64, by: i64 },
}

#[derive(Debug, thiserror::Error)]
enum FrameError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Contents(#[from] CheckpointError),
}

/// Checks all of a snapshot, and tells what it holds.
///
/// # Errors
/// When it is not whole, or not of a version that this one reads.
pub fn summary(path: &Path) -> Result<Summary, SnapshotError> {
    let (state, length) = read(path)?;
    Ok(Summary {
        hash: state.hash(),
        revision: state.store.revision(),
        total_keys: state.store.all_key_count(),
        total_bytes: length,
        cluster_id: state.cluster,
    })
}

/// Makes a data directory of a new cluster that holds what the snapshot holds. Nothing is written before the snapshot
/// is checked as a whole.
///
/// # Errors
/// When the snapshot is not whole, the directory is taken, or the disk refuses.
pub fn restore(path: &Path, to: &Restore) -> Result<Summary, SnapshotError> {
    let (mut state, length) = read(path)?;
    let old = state.store.revision();
    if to.bump_revision < 0 || !state.store.bump(to.bump_revision, to.mark_compacted) {
        return Err(SnapshotError::Bump { revision: old, by: to.bump_revision });
    }
    let Identity { cluster_id, member_id } =
        identity(to.initial_cluster_token.as_deref(), &to.initial_advertise_peer_urls);
    (state.cluster, state.member) = (cluster_id, member_id);
    (state.applied, state.applied_term) = FIRST;
    // Alarms are of members that are gone.
    state.alarms.clear();

    if to.data_dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(SnapshotError::Taken(to.data_dir.clone()));
    }
    let dir = DataDir::open(Arc::new(RealFiles), &to.data_dir).map_err(of_disk)?;
    if !matches!(dir.recover(WalOptions::default()).map_err(of_disk)?, Recovered::Fresh) {
        return Err(SnapshotError::Taken(to.data_dir.clone()));
    }
    let new = Identity { cluster_id, member_id };
    // The log comes last: what ends in between is a checkpoint without one, which no store starts on.
    let mut writer =
        CheckpointWriter::create(dir.files().clone(), dir.checkpoints(), new, FIRST.0, FIRST.1).map_err(of_disk)?;
    let mut frames = Checkpointer::new(&state);
    while let Some(frame) = frames.next(&state) {
        writer.write(&frame).map_err(of_disk)?;
    }
    writer.finish().map_err(of_disk)?;
    let mut wal = dir.create_wal(new, WalOptions::default()).map_err(of_disk)?;
    wal.set_vote(Vote { term: FIRST.1, vote: 0, commit: FIRST.0 });
    wal.sync().map_err(of_disk)?;
    Ok(Summary {
        hash: state.hash(),
        revision: state.store.revision(),
        total_keys: state.store.all_key_count(),
        total_bytes: length,
        cluster_id,
    })
}

fn read(path: &Path) -> Result<(crate::core::state::State, u64), SnapshotError> {
    let mut reader = SnapshotReader::open(path).map_err(of_disk)?;
    let length = reader.file_len();
    let frames = std::iter::from_fn(|| reader.next_frame().transpose().map(|frame| frame.map_err(FrameError::from)));
    let state = checkpoint::load::<FrameError>(Instant::now(), frames)
        .map_err(|error| SnapshotError::Contents { path: path.to_owned(), source: Box::new(error) })?;
    Ok((state, length))
}

fn of_disk(error: DiskError) -> SnapshotError {
    SnapshotError::Disk(Box::new(error))
}
