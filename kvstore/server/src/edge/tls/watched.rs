//! Files that may change under us: whether they did, without reading them.

use std::{os::unix::fs::MetadataExt, path::PathBuf};

/// Of one file: what changes when it is written or replaced, also through the symbolic links of a mounted secret.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

#[derive(Debug)]
pub(super) struct Watched {
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
}

// === impl Watched ===

impl Watched {
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        let seen = files.iter().map(stamp).collect();
        Self { files, seen }
    }

    /// True once for each change.
    pub(super) fn changed(&mut self) -> bool {
        let now: Vec<Stamp> = self.files.iter().map(stamp).collect();
        let changed = now != self.seen;
        self.seen = now;
        changed
    }
}

fn stamp(path: &PathBuf) -> Stamp {
    let of = std::fs::metadata(path).ok()?;
    Some((of.dev(), of.ino(), of.mtime(), of.mtime_nsec(), of.size()))
}
