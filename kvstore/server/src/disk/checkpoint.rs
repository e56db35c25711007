//! Checkpoints: the whole state at one index, after which the log before it may go.
//!
//! A checkpoint is written under a temporary name while writes go on, synced, and only then named after its index; the
//! directory is synced before an older one is removed. So the newest name is always a whole checkpoint, and if it does
//! not read, it is damaged: an older one would not help, since the log between the two is gone.

mod stream;

use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::files::{Mode, SharedFiles};
use super::frames::{FrameHeader, FrameReader, FrameWriter, Kind};
use super::{DiskError, Identity};
use stream::{Sink, Source};

const SUFFIX: &str = ".checkpoint";
const UNFINISHED: &str = ".tmp";
/// One write or read of the file.
const BUFFER_BYTES: usize = 1024 * 1024;

/// A checkpoint that is being written. Dropped before [`CheckpointWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct CheckpointWriter {
    files: SharedFiles,
    dir: PathBuf,
    index: u64,
    unfinished: PathBuf,
    frames: Option<FrameWriter<BufWriter<Sink>>>,
}

/// A checkpoint that is being read.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    frames: FrameReader<BufReader<Source>>,
    path: PathBuf,
    len: u64,
}

// === impl CheckpointWriter ===

impl CheckpointWriter {
    /// Begins the checkpoint of `index`, at which the term was `term`.
    pub(crate) fn create(
        files: SharedFiles,
        dir: &Path,
        identity: Identity,
        index: u64,
        term: u64,
    ) -> Result<Self, DiskError> {
        let unfinished = dir.join(format!("{}{UNFINISHED}", file_name(index)));
        match files.remove(&unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(DiskError::io("remove", &unfinished)(error));
            }
            _ => {}
        }
        let file = files.open(&unfinished, Mode::CreateNew).map_err(DiskError::io("create", &unfinished))?;
        let to = BufWriter::with_capacity(BUFFER_BYTES, Sink::new(file));
        let mut writer = Self { files, dir: dir.to_owned(), index, unfinished, frames: None };
        let frames = FrameWriter::new(to, Kind::Checkpoint, &FrameHeader { identity, index, term });
        writer.frames = Some(frames.map_err(DiskError::io("write", &writer.unfinished))?);
        Ok(writer)
    }

    /// Writes one frame.
    pub(crate) fn write(&mut self, frame: &[u8]) -> Result<(), DiskError> {
        let written = match &mut self.frames {
            Some(frames) => frames.write(frame),
            None => Ok(()),
        };
        written.map_err(DiskError::io("write", &self.unfinished))
    }

    /// Makes it the checkpoint to start from, durably, and removes those before it. Once this returned `Ok`, the log up
    /// to its index may be released.
    pub(crate) fn finish(mut self) -> Result<(), DiskError> {
        if let Some(frames) = self.frames.take() {
            let mut to = frames.finish().map_err(DiskError::io("write", &self.unfinished))?;
            to.flush().map_err(DiskError::io("write", &self.unfinished))?;
            to.get_mut().sync().map_err(DiskError::io("sync", &self.unfinished))?;
        }
        let path = self.dir.join(file_name(self.index));
        self.files.rename(&self.unfinished, &path).map_err(DiskError::io("rename", &self.unfinished))?;
        self.files.sync_dir(&self.dir).map_err(DiskError::io("sync", &self.dir))?;
        for older in self.files.list(&self.dir).map_err(DiskError::io("list", &self.dir))? {
            if index_of(&older).is_some_and(|index| index < self.index) {
                let older = self.dir.join(older);
                self.files.remove(&older).map_err(DiskError::io("remove", &older))?;
            }
        }
        Ok(())
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        // After `finish` the name is gone; after a failure the room is wanted back, and a start would sweep it anyway.
        drop(self.frames.take());
        drop(self.files.remove(&self.unfinished));
    }
}

// === impl Checkpoint ===

impl Checkpoint {
    /// Opens the newest checkpoint in `dir`, if there is one, and removes what was never finished.
    ///
    /// # Errors
    /// A newest one that is damaged or unknown is refused, here if it shows in the header, else by
    /// [`Checkpoint::next_frame`]. It is never skipped for an older one.
    pub(crate) fn latest(files: &SharedFiles, dir: &Path) -> Result<Option<Self>, DiskError> {
        let names = files.list(dir).map_err(DiskError::io("list", dir))?;
        for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
            let path = dir.join(name);
            files.remove(&path).map_err(DiskError::io("remove", &path))?;
        }
        // The process before this one may have died between a name and its sync; what is read is built upon.
        files.sync_dir(dir).map_err(DiskError::io("sync", dir))?;
        let Some(newest) = names.iter().filter_map(|name| index_of(name)).max() else { return Ok(None) };
        let path = dir.join(file_name(newest));
        let file = files.open(&path, Mode::Read).map_err(DiskError::io("open", &path))?;
        let len = file.len().map_err(DiskError::io("examine", &path))?;
        let from = BufReader::with_capacity(BUFFER_BYTES, Source::new(file));
        let frames = FrameReader::new(from, Kind::Checkpoint, &path)?;
        if frames.header().index != newest {
            let what = format!("its header says that it is of index {:x}: it was renamed", frames.header().index);
            return Err(DiskError::damaged(&path, 0, what));
        }
        Ok(Some(Self { frames, path, len }))
    }

    /// The next frame; `None` only once the file proved to be complete.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Vec<u8>>, DiskError> {
        let frame = self.frames.next_frame()?;
        if frame.is_none() && self.frames.offset() != self.len {
            return Err(DiskError::damaged(&self.path, self.frames.offset(), "something lies behind its trailer"));
        }
        Ok(frame)
    }

    /// The last index that it contains.
    pub(crate) fn index(&self) -> u64 {
        self.frames.header().index
    }

    /// Whose state it is.
    pub(crate) fn identity(&self) -> Identity {
        self.frames.header().identity
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn file_name(index: u64) -> String {
    format!("{index:016x}{SUFFIX}")
}

fn index_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}
