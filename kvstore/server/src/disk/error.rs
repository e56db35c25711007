//! Why the disk cannot be used: what, where, the rule, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::Identity;

/// A failure of anything in `disk`. None of them is worth a retry by the same process, except a full disk while writing a
/// checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Bytes that no lost sync explains.
    #[error(
        "{} is damaged at offset {offset}: {what}; a crash cannot leave this, so nothing is skipped: check the disk, and \
         restore the member from a snapshot",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first thing that does not hold begins.
        offset: u64,
        /// What does not hold.
        what: String,
    },
    /// Written by a later release, or not by us.
    #[error(
        "{} has format version {found}, and this release reads version {known}: start the release that wrote it, or a newer \
         one",
        path.display()
    )]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Two files of one data directory name different owners.
    #[error(
        "{} belongs to {found}, but {} belongs to {expected}: a data directory holds one member of one cluster; put the \
         files of the other one back where they came from",
        path.display(),
        beside.display()
    )]
    OtherIdentity {
        /// The file that does not fit.
        path: PathBuf,
        /// Whom it names.
        found: Identity,
        /// The file or directory it was compared with.
        beside: PathBuf,
        /// Whom that names.
        expected: Identity,
    },
    /// Another process has the data directory.
    #[error(
        "{} is locked by another process: a data directory is used by one server at a time; stop the other one or choose \
         another --data-dir",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Not a directory that we may use.
    #[error("{} cannot be the data directory: {rule}", path.display())]
    NotUsable {
        /// The directory, or what lies in it.
        path: PathBuf,
        /// The rule that it breaks, and the way out.
        rule: String,
    },
    /// A file that is not what it was given as.
    #[error("{} is not a snapshot to restore from: {rule}", path.display())]
    NotASnapshot {
        /// The file.
        path: PathBuf,
        /// The rule that it breaks, and the way out.
        rule: String,
    },
    /// An earlier write or sync of the log failed.
    #[error(
        "the write-ahead log in {} failed earlier and takes nothing more: what the disk holds is unknown until the process \
         restarts and reads it again",
        path.display()
    )]
    Poisoned {
        /// The directory of the log.
        path: PathBuf,
    },
}

impl DiskError {
    /// For `map_err`: the operating system refused to `action` the file at `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// The file at `path` does not hold what it must.
    pub(crate) fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), offset, what: what.into() }
    }

    /// Whether the disk is full: the one failure that an operator ends by making room.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}
