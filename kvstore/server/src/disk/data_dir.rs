//! The data directory of one member.
//!
//! ```text
//!  data-dir/            used by one server at a time
//!    lock               held while it is
//!    wal/               segments                   0700, since keys and values of every tenant lie in them
//!    checkpoints/       checkpoints                0700
//! ```
//! There is no file of its own for the identity: every segment and checkpoint states it, and they must agree.

use std::io;
use std::path::{Path, PathBuf};

use super::files::{Lock, SharedFiles};
use super::{Checkpoint, DiskError, Identity, Replay, Wal, WalOptions};

/// What etcd keeps its data under.
const ETCD_DIRECTORY: &str = "member";

/// A data directory that this process holds.
#[derive(Debug)]
pub(crate) struct DataDir {
    files: SharedFiles,
    wal: PathBuf,
    checkpoints: PathBuf,
    path: PathBuf,
    _lock: Box<dyn Lock>,
}

/// What was found in it.
#[derive(Debug)]
pub(crate) enum Recovered {
    /// Nothing: the member is new. [`DataDir::create_wal`] is next.
    Fresh,
    /// A member's state: the frames of the checkpoint, then the entries of the log.
    Existing(Box<Existing>),
}

/// A member's state.
#[derive(Debug)]
pub(crate) struct Existing {
    /// The state up to an index; `None` while the log holds everything.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The log, open for appending.
    pub(crate) wal: Wal,
    /// What it holds after the checkpoint.
    pub(crate) replay: Replay,
}

// === impl DataDir ===

impl DataDir {
    /// Creates the directory if it is not there, and locks it.
    pub(crate) fn open(files: SharedFiles, path: &Path) -> Result<Self, DiskError> {
        create(&files, path)?;
        sync_above(&files, path)?;
        let names = files.list(path).map_err(DiskError::io("list", path))?;
        let ours = names.iter().any(|name| name == "lock");
        if !ours && names.iter().any(|name| name == ETCD_DIRECTORY) {
            return Err(DiskError::NotUsable {
                path: path.to_owned(),
                rule:
                    "it holds `member/`, the data of an etcd server, which is not read; choose another --data-dir, and \
                       copy the keys with a client"
                        .into(),
            });
        }
        let lock_path = path.join("lock");
        let lock = files.lock(&lock_path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => DiskError::Locked { path: lock_path.clone() },
            _ => DiskError::io("lock", &lock_path)(error),
        })?;
        let (wal, checkpoints) = (path.join("wal"), path.join("checkpoints"));
        for inner in [&wal, &checkpoints] {
            create(&files, inner)?;
            let mode = files.mode(inner).map_err(DiskError::io("examine", inner))?;
            if mode & 0o007 != 0 {
                return Err(DiskError::NotUsable {
                    path: inner.clone(),
                    rule: format!(
                        "its permissions are {mode:04o}, and what is stored in it is not for everyone to read; run \
                         `chmod 700 {}`",
                        inner.display()
                    ),
                });
            }
        }
        files.sync_dir(path).map_err(DiskError::io("sync", path))?;
        Ok(Self { files, wal, checkpoints, path: path.to_owned(), _lock: lock })
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// Damage, unknown versions, files of different members, or a checkpoint without its log.
    pub(crate) fn recover(&self, options: WalOptions) -> Result<Recovered, DiskError> {
        let checkpoint = Checkpoint::latest(&self.files, &self.checkpoints)?;
        if !Wal::exists(&self.files, &self.wal)? {
            return match checkpoint {
                None => Ok(Recovered::Fresh),
                Some(checkpoint) => Err(DiskError::NotUsable {
                    path: self.path.clone(),
                    rule: format!(
                        "{} is there, but {} holds no segment of the log that goes on from it; put the log back, or restore \
                         the member from a snapshot into an empty directory",
                        checkpoint.path().display(),
                        self.wal.display()
                    ),
                }),
            };
        }
        let after_index = checkpoint.as_ref().map_or(0, Checkpoint::index);
        let (wal, replay) = Wal::open_with(self.files.clone(), &self.wal, after_index, options)?;
        if let Some(checkpoint) = checkpoint.as_ref().filter(|checkpoint| checkpoint.identity() != replay.identity) {
            return Err(DiskError::OtherIdentity {
                path: checkpoint.path().to_owned(),
                found: checkpoint.identity(),
                beside: self.wal.clone(),
                expected: replay.identity,
            });
        }
        Ok(Recovered::Existing(Box::new(Existing { checkpoint, wal, replay })))
    }

    /// Begins the log of a new member.
    pub(crate) fn create_wal(&self, identity: Identity, options: WalOptions) -> Result<Wal, DiskError> {
        Wal::create_with(self.files.clone(), &self.wal, identity, options)
    }

    /// The file system that it lies in.
    pub(crate) fn files(&self) -> &SharedFiles {
        &self.files
    }

    /// Where the log lies.
    pub(crate) fn wal(&self) -> &Path {
        &self.wal
    }

    /// Where checkpoints go.
    pub(crate) fn checkpoints(&self) -> &Path {
        &self.checkpoints
    }

    /// Bytes that can still be written.
    pub(crate) fn free_space(&self) -> Result<u64, DiskError> {
        self.files.free_space(&self.path).map_err(DiskError::io("examine", &self.path))
    }
}

/// Creates a directory and those above it.
fn create(files: &SharedFiles, path: &Path) -> Result<(), DiskError> {
    let created = match (files.create_dir(path), path.parent()) {
        (Err(error), Some(above)) if error.kind() == io::ErrorKind::NotFound => {
            create(files, above)?;
            files.create_dir(path)
        }
        (created, _) => created,
    };
    match created {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(DiskError::io("create", path)(error)),
        _ => Ok(()),
    }
}

/// Makes a directory durable, all the way up: a process that was killed may have created any part of the way and not
/// synced it. Where we may not read or a file system knows no sync or no writes, we did not create what is in it.
fn sync_above(files: &SharedFiles, path: &Path) -> Result<(), DiskError> {
    let foreign = [io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidInput, io::ErrorKind::ReadOnlyFilesystem];
    for above in path.ancestors().skip(1) {
        match files.sync_dir(above) {
            Ok(()) => {}
            Err(error) if foreign.contains(&error.kind()) => {}
            Err(error) => return Err(DiskError::io("sync", above)(error)),
        }
    }
    Ok(())
}
