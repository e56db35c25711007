//! How the edge reaches the driver.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc,
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    core::{Answer, Failure, Request, StreamId, StreamRequest},
    edge::Outbox,
};

/// Parts of a snapshot, with how many bytes are still to come as far as that is known.
pub(crate) type Parts = tokio::sync::mpsc::Sender<Result<(Bytes, u64), Failure>>;

pub(crate) enum Input {
    Ask(Request, oneshot::Sender<Answer>),
    Open(StreamId, Outbox),
    Stream(StreamId, StreamRequest),
    Snapshot(Parts),
    Stop,
}

#[derive(Clone)]
pub(crate) struct Handle {
    inputs: mpsc::Sender<Input>,
    next_stream: Arc<AtomicU64>,
}

// === impl Handle ===

impl Handle {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Input>) {
        let (inputs, taken) = mpsc::channel();
        (Self { inputs, next_stream: Arc::default() }, taken)
    }

    /// # Errors
    /// What the core refused; or that the store stopped.
    pub(crate) async fn ask(&self, request: Request) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(Input::Ask(request, answer)).map_err(|_| Failure::Stopped)?;
        answered.await.map_err(|_| Failure::Stopped)?
    }

    pub(crate) fn open_stream(&self, outbox: Outbox) -> StreamId {
        let stream = StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed));
        self.tell(Input::Open(stream, outbox));
        stream
    }

    pub(crate) fn stream(&self, stream: StreamId, request: StreamRequest) {
        self.tell(Input::Stream(stream, request));
    }

    pub(crate) fn snapshot(&self, parts: Parts) {
        self.tell(Input::Snapshot(parts));
    }

    pub(crate) fn stop(&self) {
        self.tell(Input::Stop);
    }

    fn tell(&self, input: Input) {
        // A store that stopped needs no more telling.
        let _ = self.inputs.send(input);
    }
}
