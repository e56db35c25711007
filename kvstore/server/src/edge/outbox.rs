//! Messages on their way to one watch stream. It is bounded: when it is full, the hub is told to stop, and again when
//! half of it was read.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tonic::Status;

use super::lean;
use crate::{
    core::{StreamId, StreamRequest, varint},
    driver::Handle,
};

/// What a client that does not read may hold of our memory; a message that begins below it may go beyond.
const FULL_BYTES: usize = 4 << 20;

/// Messages that wait are sent together up to here.
const TOGETHER_BYTES: usize = 16 << 10;
/// Field 2 of a watch response, a varint.
const WATCH_ID: u8 = 2 << 3;

#[derive(Debug, Default)]
struct Queue {
    /// With gRPC's prefix.
    messages: VecDeque<Bytes>,
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

/// Makes messages of what watches share: gRPC's prefix and the watch's number go before it. Watches of one number (most
/// streams have one watch) share the whole.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    last: Option<(i64, Bytes, Bytes)>,
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
    pub(crate) fn push(&self, message: Bytes) -> Pushed {
        let mut queue = self.0.lock();
        queue.bytes += message.len();
        queue.messages.push_back(message);
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

// === impl Framer ===

impl Framer {
    pub(crate) fn frame(&mut self, watch: i64, body: &Bytes) -> Bytes {
        if let Some((last, shared, framed)) = &self.last
            && (*last, shared.as_ptr(), shared.len()) == (watch, body.as_ptr(), body.len())
        {
            return framed.clone();
        }
        let mut head = BytesMut::with_capacity(11);
        if watch != 0 {
            head.put_u8(WATCH_ID);
            varint(&mut head, watch as u64);
        }
        let framed = lean::framed([&head, body]);
        self.last = Some((watch, body.clone(), framed.clone()));
        framed
    }
}

// === impl Messages ===

impl Messages {
    /// What waits, up to a bound; `None` when there will be no more.
    pub(super) fn poll_some(&self, context: &mut Context<'_>, bound: usize) -> Poll<Option<Bytes>> {
        let mut queue = self.outbox.0.lock();
        let Some(first) = queue.messages.pop_front() else {
            if queue.closed {
                return Poll::Ready(None);
            }
            queue.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let mut len = first.len();
        let joins = |queue: &Queue, len: usize| queue.messages.front().is_some_and(|next| len + next.len() <= bound);
        let some = if joins(&queue, len) {
            let mut joined = BytesMut::from(first);
            while joins(&queue, joined.len())
                && let Some(next) = queue.messages.pop_front()
            {
                joined.put(next);
            }
            len = joined.len();
            joined.freeze()
        } else {
            first
        };
        queue.bytes -= len;
        let relieved = queue.full && queue.bytes < FULL_BYTES / 2;
        queue.full &= !relieved;
        drop(queue);
        if relieved {
            self.handle.stream(self.stream, StreamRequest::Ready);
        }
        Poll::Ready(Some(some))
    }

    pub(super) fn poll_together(&self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.poll_some(context, TOGETHER_BYTES)
    }
}

/// One message at a time, for the general codec, which makes the prefix anew.
impl tokio_stream::Stream for Messages {
    type Item = Result<Bytes, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_some(context, 0).map(|one| one.map(|framed| Ok(framed.slice(lean::PREFIX..))))
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.handle.stream(self.stream, StreamRequest::Close);
    }
}
