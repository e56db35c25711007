//! The next segment, prepared while the active one still has room.
//!
//! A spare is a file of synced zeros named `spare`; while it is prepared it is named `spare.tmp`, and that name means
//! nothing after a restart. A released segment becomes the next spare: its blocks are there already, and writing zeros
//! over them is what keeps its old records from ever being read again.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::{Prepare, WalOptions};
use crate::disk::DiskError;
use crate::disk::files::{DiskFile, Mode, SharedFiles};

/// The spare of one log.
#[derive(Debug)]
pub(super) struct Spare {
    files: SharedFiles,
    dir: PathBuf,
    path: PathBuf,
    unfinished: PathBuf,
    capacity: u64,
    by: Prepare,
    state: State,
    failure: Option<DiskError>,
}

#[derive(Debug)]
enum State {
    /// No spare.
    None,
    /// A thread prepares one.
    Preparing(JoinHandle<Result<(), DiskError>>),
    /// It is there.
    Ready,
}

// === impl Spare ===

impl Spare {
    pub(super) fn new(files: &SharedFiles, dir: &Path, options: &WalOptions) -> Self {
        Self {
            files: files.clone(),
            dir: dir.to_owned(),
            path: dir.join("spare"),
            unfinished: dir.join("spare.tmp"),
            capacity: options.segment_bytes,
            by: options.prepare,
            state: State::None,
            failure: None,
        }
    }

    /// Removes what an earlier process left. A spare of its own is not trusted: a header may be in it already.
    pub(super) fn sweep(&mut self) -> Result<(), DiskError> {
        let names = self.files.list(&self.dir).map_err(DiskError::io("list", &self.dir))?;
        for path in [&self.path, &self.unfinished] {
            if path.file_name().is_some_and(|name| names.iter().any(|known| name == known.as_str())) {
                self.files.remove(path).map_err(DiskError::io("remove", path))?;
            }
        }
        Ok(())
    }

    /// Starts to prepare one, unless there is one.
    pub(super) fn prepare(&mut self) {
        if self.by == Prepare::WhenNeeded || !matches!(self.state, State::None) {
            return;
        }
        let (files, path, unfinished, capacity) =
            (self.files.clone(), self.path.clone(), self.unfinished.clone(), self.capacity);
        if self.by == Prepare::Caller {
            match prepare(&files, &path, &unfinished, capacity) {
                Ok(()) => self.state = State::Ready,
                Err(failure) => self.failure = Some(failure),
            }
            return;
        }
        let spawned = std::thread::Builder::new()
            .name("wal-spare".into())
            .spawn(move || prepare(&files, &path, &unfinished, capacity));
        match spawned {
            Ok(thread) => self.state = State::Preparing(thread),
            Err(source) => self.failure = Some(DiskError::io("start the thread that prepares", &self.path)(source)),
        }
    }

    /// A file of exactly `capacity` synced zeros, and its present name. Waits for the thread if one is at it.
    pub(super) fn take(&mut self, capacity: u64) -> Result<(Box<dyn DiskFile>, PathBuf), DiskError> {
        let ready = match std::mem::replace(&mut self.state, State::None) {
            State::None => false,
            State::Ready => true,
            State::Preparing(thread) => join(thread, &self.path).is_ok(),
        };
        if !ready || capacity != self.capacity {
            self.discard(&self.path)?;
            prepare(&self.files, &self.path, &self.unfinished, capacity)?;
        }
        let file = self.files.open(&self.path, Mode::Write).map_err(DiskError::io("open", &self.path))?;
        Ok((file, self.path.clone()))
    }

    /// Takes a segment out of the log: it becomes the next spare's blocks if there is none, or goes. The caller syncs
    /// the directory.
    pub(super) fn recycle(&mut self, segment: &Path) -> Result<(), DiskError> {
        if matches!(self.state, State::None) && self.by != Prepare::WhenNeeded {
            self.files.rename(segment, &self.unfinished).map_err(DiskError::io("rename", segment))
        } else {
            self.files.remove(segment).map_err(DiskError::io("remove", segment))
        }
    }

    /// Why the latest one could not be prepared. The next call of `prepare` tries again.
    pub(super) fn take_failure(&mut self) -> Option<DiskError> {
        match std::mem::replace(&mut self.state, State::None) {
            State::Preparing(thread) if thread.is_finished() => match join(thread, &self.path) {
                Ok(()) => self.state = State::Ready,
                Err(failure) => self.failure = Some(failure),
            },
            other => self.state = other,
        }
        self.failure.take()
    }

    fn discard(&self, path: &Path) -> Result<(), DiskError> {
        match self.files.remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DiskError::io("remove", path)(error)),
            _ => Ok(()),
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let State::Preparing(thread) = std::mem::replace(&mut self.state, State::None) {
            // What it says concerns nobody any more; that it ended does: the directory may be locked by another next.
            drop(join(thread, &self.path));
        }
    }
}

/// Writes and syncs `capacity` zeros, over the blocks of an earlier segment if there are some, then names the file.
fn prepare(files: &SharedFiles, path: &Path, unfinished: &Path, capacity: u64) -> Result<(), DiskError> {
    let mut file = match files.open(unfinished, Mode::Write) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => files.open(unfinished, Mode::CreateNew),
        other => other,
    }
    .map_err(DiskError::io("create", unfinished))?;
    file.zero_fill(capacity).map_err(DiskError::io("fill with zeros", unfinished))?;
    // The header's sync would take the zeros along; but somebody waits for that one.
    file.sync_data().map_err(DiskError::io("sync", unfinished))?;
    files.rename(unfinished, path).map_err(DiskError::io("rename", unfinished))
}

fn join(thread: JoinHandle<Result<(), DiskError>>, path: &Path) -> Result<(), DiskError> {
    let panicked = |_| Err(DiskError::io("prepare", path)(std::io::Error::other("the thread panicked")));
    thread.join().unwrap_or_else(panicked)
}
