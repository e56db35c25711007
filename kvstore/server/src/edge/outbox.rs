//! Messages on their way to one watch stream. It is bounded: when it is full, the hub is told to stop, and again when
//! half of it was read.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tonic::Status;

use super::codec::Message;
use crate::{
    core::{StreamId, StreamRequest},
    driver::Handle,
};

/// What a client that does not read may hold of our memory; a message that begins below it may go beyond.
const FULL_BYTES: usize = 4 << 20;

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<(i64, Bytes)>,
    bytes: usize,
    full: bool,
    closed: bool,
    /// The reader was not told yet of what came.
    unflushed: bool,
    waker: Option<Waker>,
}

/// What a message changed.
pub(crate) struct Pushed {
    /// The stream became full by it.
    pub(crate) filled: bool,
    /// It is the first since the last flush.
    pub(crate) first: bool,
}

/// The driver's end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<Queue>>);

/// The client's end.
pub(super) struct Messages {
    outbox: Outbox,
    stream: StreamId,
    handle: Handle,
}

// === impl Outbox ===

impl Outbox {
    pub(crate) fn push(&self, watch: i64, body: Bytes) -> Pushed {
        let mut queue = self.0.lock();
        queue.bytes += body.len();
        queue.messages.push_back((watch, body));
        let filled = !queue.full && queue.bytes >= FULL_BYTES;
        queue.full |= filled;
        Pushed { filled, first: !std::mem::replace(&mut queue.unflushed, true) }
    }

    /// Lets the reader know of what was pushed.
    pub(crate) fn flush(&self) {
        let waker = {
            let mut queue = self.0.lock();
            queue.unflushed = false;
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn close(&self) {
        self.0.lock().closed = true;
        self.flush();
    }

    pub(super) fn messages(&self, stream: StreamId, handle: Handle) -> Messages {
        Messages { outbox: self.clone(), stream, handle }
    }
}

impl tokio_stream::Stream for Messages {
    type Item = Result<Message, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queue = self.outbox.0.lock();
        let Some((id, body)) = queue.messages.pop_front() else {
            if queue.closed {
                return Poll::Ready(None);
            }
            queue.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        queue.bytes -= body.len();
        let relieved = queue.full && queue.bytes < FULL_BYTES / 2;
        if relieved {
            queue.full = false;
        }
        drop(queue);
        if relieved {
            self.handle.stream(self.stream, StreamRequest::Ready);
        }
        Poll::Ready(Some(Ok(Message::Watch { id, body })))
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.handle.stream(self.stream, StreamRequest::Close);
    }
}
