//! Checkpoints: taken from the core a frame a turn, written by a thread, so that no write waits for them.

use std::{
    sync::mpsc::{self, Receiver, SyncSender, TrySendError},
    thread,
};

use crate::{
    core::Core,
    disk::{CheckpointWriter, DataDir, DiskError, Identity},
};

/// A checkpoint is due when the log since the last has so many segments: they bound what a start has to replay.
const SEGMENTS: usize = 4;
/// Frames on their way to the disk.
const FRAMES: usize = 4;

/// Where checkpoints go, and the one that is being written.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    dir: DataDir,
    identity: Identity,
    /// The index of the last one.
    last: u64,
    writing: Option<Writing>,
}

#[derive(Debug)]
struct Writing {
    index: u64,
    /// `None` when the last frame is out.
    frames: Option<SyncSender<Vec<u8>>>,
    /// A frame that found no place.
    waiting: Option<Vec<u8>>,
    done: Receiver<Result<(), DiskError>>,
}

// === impl Checkpoints ===

impl Checkpoints {
    pub(super) fn new(dir: DataDir, identity: Identity, last: u64) -> Self {
        Self { dir, identity, last, writing: None }
    }

    pub(super) fn is_due(&self, applied: u64, segments: usize) -> bool {
        segments > SEGMENTS && applied > self.last
    }

    pub(super) fn is_writing(&self) -> bool {
        self.writing.as_ref().is_some_and(|writing| writing.frames.is_some())
    }

    pub(super) fn begin(&mut self, core: &mut Core) -> Result<(), DiskError> {
        if self.writing.is_some() {
            return Ok(());
        }
        let (index, term) = core.begin_checkpoint();
        let mut writer =
            CheckpointWriter::create(self.dir.files().clone(), self.dir.checkpoints(), self.identity, index, term)?;
        let (frames, taken) = mpsc::sync_channel::<Vec<u8>>(FRAMES);
        let (tell, done) = mpsc::channel();
        thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || {
                let written = taken.iter().try_for_each(|frame| writer.write(&frame));
                // Nobody listens when the store stops meanwhile: the next start removes what is unfinished.
                let _ = tell.send(written.and_then(|()| writer.finish()));
            })
            .map_err(DiskError::io("start a thread to write", self.dir.checkpoints()))?;
        tracing::debug!(index, "a checkpoint begins");
        self.writing = Some(Writing { index, frames: Some(frames), waiting: None, done });
        Ok(())
    }

    /// Takes the next frame. True if another can follow at once.
    pub(super) fn go_on(&mut self, core: &mut Core) -> bool {
        let Some(writing) = &mut self.writing else { return false };
        let Some(frames) = &writing.frames else { return false };
        let Some(frame) = writing.waiting.take().or_else(|| core.next_frame()) else {
            writing.frames = None;
            return false;
        };
        match frames.try_send(frame) {
            Ok(()) => true,
            // The disk is slower: the next turn tries again, after the tick or with the next request.
            Err(TrySendError::Full(frame)) => {
                writing.waiting = Some(frame);
                false
            }
            Err(TrySendError::Disconnected(_)) => {
                writing.frames = None;
                core.end_checkpoint();
                false
            }
        }
    }

    /// The index up to which the log is not needed any more, once.
    ///
    /// # Errors
    /// When the checkpoint could not be written: the log goes on growing, which the caller must not let pass.
    pub(super) fn finished(&mut self) -> Result<Option<u64>, DiskError> {
        let Some(writing) = &self.writing else { return Ok(None) };
        let Ok(done) = writing.done.try_recv() else { return Ok(None) };
        let index = writing.index;
        self.writing = None;
        match done {
            Ok(()) => {
                self.last = index;
                tracing::info!(index, "a checkpoint was written");
                Ok(Some(index))
            }
            Err(error) if error.is_full() => {
                // The log still holds everything; there may be room later.
                tracing::error!(error = &error as &dyn std::error::Error, "the disk has no room for a checkpoint");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
