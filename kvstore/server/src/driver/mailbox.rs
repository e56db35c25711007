//! Answers on their way from the driver to the clients' threads: one wake a turn for all of a thread's connections, so
//! that what belongs to one connection is sent together.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::{core::Answer, edge::Outbox};

#[derive(Default)]
pub(crate) struct Mailbox {
    letters: Mutex<Vec<Letter>>,
    came: Notify,
}

enum Letter {
    Answer(oneshot::Sender<Answer>, Answer),
    /// The outbox has new messages.
    Flush(Outbox),
}

/// What one turn has for everybody.
#[derive(Default)]
pub(crate) struct Deliveries(Vec<(Option<Arc<Mailbox>>, Vec<Letter>)>);

// === impl Mailbox ===

impl Mailbox {
    /// Hands out what comes, for ever.
    pub(crate) async fn serve(&self) {
        loop {
            self.came.notified().await;
            let letters = std::mem::take(&mut *self.letters.lock());
            letters.into_iter().for_each(Letter::hand_over);
        }
    }
}

// === impl Letter ===

impl Letter {
    fn hand_over(self) {
        match self {
            // Who does not wait any more is not told.
            Self::Answer(to, answer) => drop(to.send(answer)),
            Self::Flush(outbox) => outbox.flush(),
        }
    }
}

// === impl Deliveries ===

impl Deliveries {
    pub(super) fn answer(&mut self, mailbox: Option<Arc<Mailbox>>, to: oneshot::Sender<Answer>, answer: Answer) {
        self.add(mailbox, Letter::Answer(to, answer));
    }

    pub(super) fn flush(&mut self, mailbox: Option<Arc<Mailbox>>, outbox: Outbox) {
        self.add(mailbox, Letter::Flush(outbox));
    }

    /// Who has no mailbox is told here.
    pub(crate) fn send(self) {
        for (mailbox, letters) in self.0 {
            let Some(mailbox) = mailbox else {
                letters.into_iter().for_each(Letter::hand_over);
                continue;
            };
            mailbox.letters.lock().extend(letters);
            mailbox.came.notify_one();
        }
    }

    fn add(&mut self, mailbox: Option<Arc<Mailbox>>, letter: Letter) {
        // There are as many mailboxes as threads: few.
        let place = |(other, _): &(Option<Arc<Mailbox>>, _)| {
            other.as_ref().map(Arc::as_ptr) == mailbox.as_ref().map(Arc::as_ptr)
        };
        match self.0.iter().position(place) {
            Some(at) => self.0[at].1.push(letter),
            None => self.0.push((mailbox, vec![letter])),
        }
    }
}
