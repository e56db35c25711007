//! Where clients and the driver meet: the core behind a lock.
//!
//! What can be answered from what is applied (reads, keep-alives) is answered where it was asked: no other thread has to
//! wake for it. The driver lets go of the lock while the disk writes, so nothing but a write waits for the disk.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::{
    clock::LeaseClock,
    mailbox::{Deliveries, Mailbox},
    snapshots::Parts,
};
use crate::{
    core::{Answer, Caller, Core, Failure, Request, StreamId, StreamRequest, Token},
    edge::{Framer, Outbox},
};

pub(crate) struct Desk {
    front: Mutex<Front>,
    called: Condvar,
}

/// What the lock guards.
pub(crate) struct Front {
    pub(crate) core: Core,
    clock: LeaseClock,
    /// Who waits for an answer, by token from `first_token` on.
    asked: VecDeque<Option<Asked>>,
    first_token: u64,
    streams: HashMap<StreamId, (Outbox, Option<Arc<Mailbox>>)>,
    /// Clients that want a snapshot.
    pub(super) snapshots: Vec<Parts>,
    pub(super) stopping: bool,
    /// Something is there that the driver has not seen.
    called: bool,
    /// The driver sleeps.
    idle: bool,
}

struct Asked {
    answer: oneshot::Sender<Answer>,
    mailbox: Option<Arc<Mailbox>>,
}

/// An answer that is there, or will be.
pub(super) enum Answered {
    Now(Answer),
    Later(oneshot::Receiver<Answer>),
}

// === impl Desk ===

impl Desk {
    pub(crate) fn new(core: Core) -> Arc<Self> {
        let front = Front {
            core,
            clock: LeaseClock::new(Instant::now()),
            asked: VecDeque::new(),
            first_token: 0,
            streams: HashMap::new(),
            snapshots: Vec::new(),
            stopping: false,
            called: false,
            idle: false,
        };
        Arc::new(Self { front: Mutex::new(front), called: Condvar::new() })
    }

    pub(crate) fn front(&self) -> MutexGuard<'_, Front> {
        self.front.lock()
    }

    pub(super) fn ask(&self, caller: Caller, request: Request, mailbox: Option<&Arc<Mailbox>>) -> Answered {
        let mut front = self.front();
        let answered = front.ask(caller, request, mailbox);
        if matches!(answered, Answered::Later(_)) {
            self.call(front);
        }
        answered
    }

    pub(super) fn stream(&self, stream: StreamId, request: StreamRequest) {
        let mut front = self.front();
        if matches!(request, StreamRequest::Close) {
            front.streams.remove(&stream);
        }
        let now = front.now();
        front.core.handle_stream(now, stream, request);
        self.call(front);
    }

    pub(super) fn open(&self, stream: StreamId, outbox: Outbox, mailbox: Option<Arc<Mailbox>>) {
        let mut front = self.front();
        if front.stopping {
            return outbox.close();
        }
        front.streams.insert(stream, (outbox, mailbox));
        let now = front.now();
        front.core.handle_stream(now, stream, StreamRequest::Open);
    }

    pub(super) fn snapshot(&self, parts: Parts) {
        let mut front = self.front();
        // Dropping the sender tells a client that came too late.
        if !front.stopping {
            front.snapshots.push(parts);
        }
        self.call(front);
    }

    pub(super) fn stop(&self) {
        let mut front = self.front();
        front.stopping = true;
        self.call(front);
    }

    /// Sleeps until something is asked, at most until then.
    pub(super) fn wait(&self, front: &mut MutexGuard<'_, Front>, until: Instant) {
        if !front.called && !front.stopping {
            front.idle = true;
            // Woken early it looks, and finds nothing to do.
            self.called.wait_until(front, until);
            front.idle = false;
        }
        front.called = false;
    }

    /// Wakes the driver, when the lock that it will want is free.
    fn call(&self, mut front: MutexGuard<'_, Front>) {
        front.called = true;
        let sleeps = std::mem::take(&mut front.idle);
        drop(front);
        if sleeps {
            self.called.notify_one();
        }
    }
}

// === impl Front ===

impl Front {
    /// The time by which leases end.
    pub(crate) fn now(&mut self) -> Instant {
        self.clock.now(Instant::now())
    }

    fn ask(&mut self, caller: Caller, request: Request, mailbox: Option<&Arc<Mailbox>>) -> Answered {
        if self.stopping {
            return Answered::Now(Err(Failure::Stopped));
        }
        let now = self.now();
        // A token that is answered at once is free again.
        let token = Token(self.first_token + self.asked.len() as u64);
        self.core.handle_request(now, token, caller, request);
        if let Some(answer) = self.core.take_answer(token) {
            return Answered::Now(answer);
        }
        let (answer, answered) = oneshot::channel();
        self.asked.push_back(Some(Asked { answer, mailbox: mailbox.cloned() }));
        Answered::Later(answered)
    }

    /// Who waits for an answer.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.asked.len()
    }

    /// What the core has to say to those who wait, and how many messages of watches are among it.
    pub(crate) fn deliver(&mut self) -> (Deliveries, usize) {
        let mut deliveries = Deliveries::default();
        for (token, answer) in self.core.take_answers() {
            let slot = token.0.checked_sub(self.first_token).and_then(|at| self.asked.get_mut(at as usize));
            if let Some(asked) = slot.and_then(Option::take) {
                deliveries.answer(asked.mailbox, asked.answer, answer);
            }
        }
        while self.asked.front().is_some_and(Option::is_none) {
            self.asked.pop_front();
            self.first_token += 1;
        }
        let outgoing = self.core.take_outgoing();
        let (sent, mut full, mut framer) = (outgoing.len(), Vec::new(), Framer::default());
        for message in outgoing {
            let Some((outbox, mailbox)) = self.streams.get(&message.stream) else { continue };
            let pushed = outbox.push(framer.frame(message.watch, &message.body));
            if pushed.first {
                deliveries.flush(mailbox.clone(), outbox.clone());
            }
            if pushed.filled {
                full.push(message.stream);
            }
        }
        let now = self.now();
        for stream in full {
            self.core.handle_stream(now, stream, StreamRequest::Full);
        }
        (deliveries, sent)
    }

    /// Nobody is answered after this.
    pub(super) fn close(&mut self) {
        self.stopping = true;
        for asked in self.asked.drain(..).flatten() {
            // Who does not wait any more is not told.
            let _ = asked.answer.send(Err(Failure::Stopped));
        }
        self.snapshots.clear();
        self.streams.drain().for_each(|(_, (outbox, _))| outbox.close());
    }
}
