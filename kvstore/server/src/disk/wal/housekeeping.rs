//! Segments before and after their use: the next one is prepared while the active one has room, and those that a
//! checkpoint made superfluous go. Both take syncs that nobody should wait for, so a thread does them.
//!
//! A spare is a file of synced zeros named `spare`; while it is prepared it is named `spare.tmp`, and neither name means
//! anything after a restart. The oldest released segment becomes the next spare: its blocks are there already, and writing
//! zeros over them is what keeps its old records from ever being read again.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::{Prepare, WalOptions};
use crate::disk::DiskError;
use crate::disk::files::{DiskFile, Mode, SharedFiles};

/// What is prepared and what is to go, for one log.
#[derive(Debug)]
pub(super) struct Housekeeping {
    place: Place,
    by: Prepare,
    state: State,
    /// Segments to remove, oldest first.
    released: Vec<PathBuf>,
    /// Nothing is tried again before somebody heard of this, or a segment was released.
    failure: Option<DiskError>,
}

/// Segments that are still to be removed, and why.
type Outcome = Result<(), (DiskError, Vec<PathBuf>)>;

/// Where it is done.
#[derive(Debug, Clone)]
struct Place {
    files: SharedFiles,
    dir: PathBuf,
    spare: PathBuf,
    unfinished: PathBuf,
    capacity: u64,
}

#[derive(Debug)]
enum State {
    /// No spare.
    Bare,
    /// A thread is at work; there is a spare if it ends well.
    Working(JoinHandle<Outcome>),
    /// There is a spare.
    Ready,
}

// === impl Housekeeping ===

impl Housekeeping {
    pub(super) fn new(files: &SharedFiles, dir: &Path, options: &WalOptions) -> Self {
        let place = Place {
            files: files.clone(),
            dir: dir.to_owned(),
            spare: dir.join("spare"),
            unfinished: dir.join("spare.tmp"),
            capacity: options.segment_bytes,
        };
        Self { place, by: options.prepare, state: State::Bare, released: Vec::new(), failure: None }
    }

    /// Removes what an earlier process left. A spare of its own is not trusted: a header may be in it already.
    pub(super) fn sweep(&self) -> Result<(), DiskError> {
        self.place.remove_if_there(&self.place.spare)?;
        self.place.remove_if_there(&self.place.unfinished)
    }

    /// Prepares a spare, unless there is one or one is on its way.
    pub(super) fn prepare(&mut self) {
        if self.wants_spare() && self.failure.is_none() {
            self.start();
        }
    }

    /// Takes segments out of the log, oldest first.
    pub(super) fn release(&mut self, segments: impl Iterator<Item = PathBuf>) {
        self.released.extend(segments);
        self.failure = None;
        self.tidy();
    }

    /// Goes on with what was released while the thread was busy.
    pub(super) fn tidy(&mut self) {
        self.collect();
        if !self.released.is_empty() && self.failure.is_none() && !matches!(self.state, State::Working(_)) {
            self.start();
        }
    }

    /// A file of exactly `capacity` synced zeros, and its present name. Waits for the thread if one is at it.
    pub(super) fn take(&mut self, capacity: u64) -> Result<(Box<dyn DiskFile>, PathBuf), DiskError> {
        self.join();
        let ready = matches!(std::mem::replace(&mut self.state, State::Bare), State::Ready);
        if !ready || capacity != self.place.capacity {
            self.place.remove_if_there(&self.place.spare)?;
            self.place.prepare(capacity)?;
        }
        let spare = &self.place.spare;
        let file = self.place.files.open(spare, Mode::Write).map_err(DiskError::io("open", spare))?;
        Ok((file, spare.clone()))
    }

    /// The latest failure. What failed is tried again after this.
    pub(super) fn take_failure(&mut self) -> Option<DiskError> {
        self.collect();
        self.failure.take()
    }

    fn start(&mut self) {
        let (place, released, spare) = (self.place.clone(), std::mem::take(&mut self.released), self.wants_spare());
        let work = move || place.work(released, spare);
        if self.by != Prepare::Thread {
            return self.ended(work());
        }
        match std::thread::Builder::new().name("wal-housekeeping".into()).spawn(work) {
            Ok(thread) => self.state = State::Working(thread),
            Err(source) => self.failure = Some(DiskError::io("start a thread for", &self.place.dir)(source)),
        }
    }

    fn wants_spare(&self) -> bool {
        matches!(self.state, State::Bare) && self.by != Prepare::WhenNeeded
    }

    /// Takes the result of a thread that has ended.
    fn collect(&mut self) {
        if matches!(&self.state, State::Working(thread) if thread.is_finished()) {
            self.join();
        }
    }

    fn join(&mut self) {
        match std::mem::replace(&mut self.state, State::Bare) {
            State::Working(thread) => {
                let panicked = || DiskError::io("tidy", &self.place.dir)(std::io::Error::other("the thread panicked"));
                let result = thread.join().unwrap_or_else(|_| Err((panicked(), Vec::new())));
                self.ended(result);
            }
            other => self.state = other,
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        match outcome {
            Ok(()) if self.by == Prepare::WhenNeeded => {}
            Ok(()) => self.state = State::Ready,
            Err((failure, mut kept)) => {
                // In front: were a later segment to go before these, the log would have a gap.
                kept.append(&mut self.released);
                (self.released, self.state, self.failure) = (kept, State::Bare, Some(failure));
            }
        }
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        // What it says concerns nobody any more; that it ended does: the directory may be locked by another next.
        self.join();
    }
}

// === impl Place ===

impl Place {
    /// Prepares a spare if one is wanted, and removes the released segments.
    fn work(&self, released: Vec<PathBuf>, spare: bool) -> Outcome {
        let mut removed = 0;
        let result = self.recycle(&released, spare, &mut removed);
        result.map_err(|failure| (failure, released[removed..].to_vec()))
    }

    /// Counts in `removed` those that are gone for good.
    fn recycle(&self, released: &[PathBuf], spare: bool, removed: &mut usize) -> Result<(), DiskError> {
        if spare {
            let oldest = released.first();
            if let Some(oldest) = oldest {
                self.rename_if_there(oldest, &self.unfinished)?;
            }
            self.prepare(self.capacity)?;
            *removed += oldest.iter().count();
        }
        for segment in &released[*removed..] {
            self.remove_if_there(segment)?;
            // One at a time: were two removals in flight, a crash could keep the later one only, and leave a gap.
            self.sync_dir()?;
            *removed += 1;
        }
        Ok(())
    }

    /// Writes and syncs `capacity` zeros, over the blocks of a released segment if there are some, then names the file.
    fn prepare(&self, capacity: u64) -> Result<(), DiskError> {
        let path = &self.unfinished;
        let mut file = match self.files.open(path, Mode::Write) {
            Ok(file) => {
                // Before zeros go over it: as long as its old name may come back, it belongs to the log.
                self.sync_dir()?;
                file
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.files.open(path, Mode::CreateNew).map_err(DiskError::io("create", path))?
            }
            Err(error) => return Err(DiskError::io("open", path)(error)),
        };
        file.zero_fill(capacity).map_err(DiskError::io("fill with zeros", path))?;
        // The header's sync would take the zeros along; but somebody waits for that one.
        file.sync_data().map_err(DiskError::io("sync", path))?;
        self.files.rename(path, &self.spare).map_err(DiskError::io("rename", path))
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        self.files.sync_dir(&self.dir).map_err(DiskError::io("sync", &self.dir))
    }

    fn rename_if_there(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        match self.files.rename(from, to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DiskError::io("rename", from)(error)),
            _ => Ok(()),
        }
    }

    fn remove_if_there(&self, path: &Path) -> Result<(), DiskError> {
        match self.files.remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DiskError::io("remove", path)(error)),
            _ => Ok(()),
        }
    }
}
