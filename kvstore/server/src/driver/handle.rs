//! How the edge reaches the store.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    desk::{Answered, Desk},
    mailbox::Mailbox,
    snapshots::Parts,
};
use crate::{
    core::{Answer, Caller, Failure, Request, StreamId, StreamRequest},
    edge::Outbox,
};

#[derive(Clone)]
pub(crate) struct Handle {
    desk: Arc<Desk>,
    next_stream: Arc<AtomicU64>,
    mailbox: Option<Arc<Mailbox>>,
}

// === impl Handle ===

impl Handle {
    pub(crate) fn new(desk: Arc<Desk>) -> Self {
        Self { desk, next_stream: Arc::default(), mailbox: None }
    }

    /// A handle whose answers come by this mailbox.
    pub(crate) fn with_mailbox(&self, mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox: Some(mailbox), ..self.clone() }
    }

    /// # Errors
    /// What the core refused; or that the store stopped.
    pub(crate) async fn ask(&self, caller: Caller, request: Request) -> Answer {
        match self.desk.ask(caller, request, self.mailbox.as_ref()) {
            Answered::Now(answer) => answer,
            Answered::Later(answered) => answered.await.map_err(|_| Failure::Stopped)?,
        }
    }

    pub(crate) fn open_stream(&self, outbox: Outbox) -> StreamId {
        let stream = StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed));
        self.desk.open(stream, outbox, self.mailbox.clone());
        stream
    }

    pub(crate) fn stream(&self, stream: StreamId, request: StreamRequest) {
        self.desk.stream(stream, request);
    }

    pub(crate) fn snapshot(&self, parts: Parts) {
        self.desk.snapshot(parts);
    }

    pub(crate) fn stop(&self) {
        self.desk.stop();
    }
}
