//! Snapshots for clients: a checkpoint's frames, streamed instead of stored.

use std::{collections::VecDeque, io, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;

use crate::{
    core::{Core, Failure},
    disk::{Identity, SnapshotWriter},
};

/// Clients that wait for theirs: each in turn, for it holds compaction back.
const MAX_WAITING: usize = 16;
/// A part of the stream: small beside gRPC's limit of 2 MiB.
const PART_BYTES: usize = 64 << 10;

/// Parts of a snapshot, with how many bytes are still to come as far as that is known.
pub(crate) type Parts = tokio::sync::mpsc::Sender<Result<(Bytes, u64), Failure>>;

#[derive(Default)]
pub(super) struct Snapshots {
    waiting: VecDeque<Parts>,
    current: Option<Current>,
}

struct Current {
    parts: Parts,
    /// `None` when the end was written.
    writer: Option<SnapshotWriter<Sink>>,
    sink: Sink,
    unsent: VecDeque<Bytes>,
}

/// What was written and not sent.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

// === impl Snapshots ===

impl Snapshots {
    /// Dropping the sender tells a client that came at a bad time.
    pub(super) fn ask(&mut self, parts: Parts) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(parts);
        } else {
            // A client that is gone need not be told.
            let _ = parts.try_send(Err(Failure::TooManyRequests));
        }
    }

    pub(super) fn is_writing(&self) -> bool {
        self.current.is_some()
    }

    /// Begins with the next that waits. False if nobody does.
    pub(super) fn begin(&mut self, core: &mut Core) -> bool {
        let Some(parts) = self.waiting.pop_front() else { return false };
        let (index, term) = core.begin_checkpoint();
        let identity = Identity { cluster_id: core.state().cluster, member_id: core.state().member };
        let sink = Sink::default();
        match SnapshotWriter::new(sink.clone(), identity, index, term) {
            Ok(writer) => {
                self.current = Some(Current { parts, writer: Some(writer), sink, unsent: VecDeque::new() });
                true
            }
            Err(error) => {
                tracing::error!(%error, "a snapshot cannot begin");
                core.end_checkpoint();
                false
            }
        }
    }

    /// Takes the next frame. True if another can follow at once.
    pub(super) fn go_on(&mut self, core: &mut Core) -> bool {
        let Some(current) = &mut self.current else { return false };
        while let Some(part) = current.unsent.pop_front() {
            match current.parts.try_send(Ok((part, 0))) {
                Ok(()) => {}
                Err(TrySendError::Full(Ok((part, _)))) => {
                    current.unsent.push_front(part);
                    return false;
                }
                Err(_) => {
                    self.current = None;
                    core.end_checkpoint();
                    return false;
                }
            }
        }
        let written = current.write(core);
        match written {
            Ok(true) => true,
            Ok(false) => {
                self.current = None;
                false
            }
            Err(error) => {
                tracing::error!(%error, "a snapshot ended early");
                self.current = None;
                core.end_checkpoint();
                false
            }
        }
    }
}

// === impl Current ===

impl Current {
    /// One more frame, or the end. False when all is sent.
    fn write(&mut self, core: &mut Core) -> io::Result<bool> {
        let Some(mut writer) = self.writer.take() else { return Ok(false) };
        match core.next_frame() {
            Some(frame) => {
                writer.write(&frame)?;
                self.writer = Some(writer);
            }
            None => {
                writer.finish()?;
            }
        }
        let mut bytes = Bytes::from(std::mem::take(&mut *self.sink.0.lock()));
        while !bytes.is_empty() {
            self.unsent.push_back(bytes.split_to(PART_BYTES.min(bytes.len())));
        }
        Ok(true)
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
