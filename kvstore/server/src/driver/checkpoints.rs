//! Checkpoints: taken from the core a frame a turn, written by a thread, so that no write waits for them.

use std::{
    sync::mpsc::{self, Receiver, SyncSender, TrySendError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    core::Core,
    disk::{CheckpointWriter, DataDir, DiskError, Identity},
};

/// A checkpoint is due when the log since the last has so many segments: they bound what a start has to replay.
const SEGMENTS: usize = 4;
/// Frames on their way to the disk.
const FRAMES: usize = 4;
/// After one that found no room the next is tried: each try costs as much as a checkpoint.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Where checkpoints go, and the one that is being written.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    dir: DataDir,
    identity: Identity,
    /// The index of the last one.
    last: u64,
    not_before: Option<Instant>,
    writing: Option<Writing>,
}

/// What the thread is given. A checkpoint whose end it was not given is none: the store stopped.
#[derive(Debug)]
enum Part {
    Frame(Vec<u8>),
    End,
}

#[derive(Debug)]
struct Writing {
    index: u64,
    /// `None` when all is handed over.
    parts: Option<SyncSender<Part>>,
    /// A part that found no place.
    waiting: Option<Part>,
    thread: Option<JoinHandle<Result<(), DiskError>>>,
}

/// How a checkpoint went.
#[derive(Debug)]
pub(super) enum Ended {
    /// The log is not needed any more up to this index.
    Written(u64),
    /// There was no room for it. The log still holds everything; there may be room later.
    NoRoom,
}

// === impl Checkpoints ===

impl Checkpoints {
    pub(super) fn new(dir: DataDir, identity: Identity, last: u64) -> Self {
        Self { dir, identity, last, not_before: None, writing: None }
    }

    pub(super) fn is_due(&self, now: Instant, applied: u64, segments: usize) -> bool {
        segments > SEGMENTS && applied > self.last && self.not_before.is_none_or(|not_before| now >= not_before)
    }

    /// There are frames to hand over.
    pub(super) fn is_writing(&self) -> bool {
        self.writing.as_ref().is_some_and(|writing| writing.parts.is_some())
    }

    /// Begins one, unless the one before is not on disk yet.
    ///
    /// # Errors
    /// When the disk fails. That it is full is told by [`finished`](Self::finished).
    pub(super) fn begin(&mut self, core: &mut Core) -> Result<(), DiskError> {
        if self.writing.is_some() {
            return Ok(());
        }
        let (files, dir, identity) = (self.dir.files().clone(), self.dir.checkpoints().to_owned(), self.identity);
        let (index, term) = core.begin_checkpoint();
        let (parts, taken) = mpsc::sync_channel(FRAMES);
        let thread = thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || write(CheckpointWriter::create(files, &dir, identity, index, term)?, &taken))
            .map_err(DiskError::io("start a thread to write", self.dir.checkpoints()))?;
        tracing::debug!(index, "a checkpoint begins");
        self.writing = Some(Writing { index, parts: Some(parts), waiting: None, thread: Some(thread) });
        Ok(())
    }

    /// Hands over the next frame. True if another can follow at once.
    pub(super) fn go_on(&mut self, core: &mut Core) -> bool {
        let Some(writing) = &mut self.writing else { return false };
        let Some(parts) = &writing.parts else { return false };
        let next = || core.next_frame().map_or(Part::End, Part::Frame);
        let part = writing.waiting.take().unwrap_or_else(next);
        let is_end = matches!(part, Part::End);
        match parts.try_send(part) {
            Ok(()) if is_end => {
                writing.parts = None;
                false
            }
            Ok(()) => true,
            // The disk is slower: the next turn tries again, after the tick or with the next request.
            Err(TrySendError::Full(part)) => {
                writing.waiting = Some(part);
                false
            }
            Err(TrySendError::Disconnected(_)) => {
                writing.parts = None;
                core.end_checkpoint();
                false
            }
        }
    }

    /// How the last one went, once.
    ///
    /// # Errors
    /// When it could not be written: the log goes on growing, which the caller must not let pass.
    pub(super) fn finished(&mut self, now: Instant, core: &mut Core) -> Result<Option<Ended>, DiskError> {
        let Some(writing) = self.writing.take_if(|writing| writing.has_ended()) else { return Ok(None) };
        if writing.parts.is_some() {
            core.end_checkpoint();
        }
        let index = writing.index;
        match writing.join() {
            Ok(()) => {
                self.last = index;
                tracing::info!(index, "a checkpoint was written");
                Ok(Some(Ended::Written(index)))
            }
            Err(error) if error.is_full() => {
                tracing::error!(error = &error as &dyn std::error::Error, "the disk has no room for a checkpoint");
                self.not_before = Some(now + AGAIN_AFTER);
                Ok(Some(Ended::NoRoom))
            }
            Err(error) => Err(error),
        }
    }
}

// === impl Writing ===

impl Writing {
    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn join(mut self) -> Result<(), DiskError> {
        let panicked = || {
            let error = std::io::Error::other("the thread ended by a mistake in it");
            Err(DiskError::io("write", "the checkpoint".as_ref())(error))
        };
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or_else(|_| panicked()))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Without its end the thread leaves nothing behind; and the directory may be locked by another next.
        self.parts = None;
        if let Some(thread) = self.thread.take() {
            // How it went concerns nobody any more.
            drop(thread.join());
        }
    }
}

fn write(mut writer: CheckpointWriter, parts: &Receiver<Part>) -> Result<(), DiskError> {
    for part in parts {
        match part {
            Part::Frame(frame) => writer.write(&frame)?,
            Part::End => return writer.finish(),
        }
    }
    Ok(())
}
