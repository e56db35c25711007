//! A prefix, followed by a task for a reader that may be elsewhere: [`Following`], and a queue between the two.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{Backend, Event, Following};

/// Batches on their way to the reader. Few, because each may be a page of 8 MiB.
const QUEUE: usize = 4;

/// The reader's end. Dropping it ends the driver.
#[derive(Debug)]
pub struct Follower {
    events: mpsc::Receiver<Vec<Event>>,
    control: mpsc::Sender<Control>,
}

#[derive(Debug)]
enum Control {
    AcceptAbsence,
    Relist,
}

/// Follows every key with this prefix for ever. The future is the driver: spawn it.
pub fn follow(
    backend: Arc<dyn Backend>,
    prefix: impl Into<Bytes>,
) -> (Follower, impl Future<Output = ()> + Send + 'static) {
    let (events, receiver) = mpsc::channel(QUEUE);
    let (control, commands) = mpsc::channel(1);
    let driver = drive(Following::new(backend, prefix), events, commands);
    (Follower { events: receiver, control }, driver)
}

// === impl Follower ===

impl Follower {
    /// The next events, in order. `None` when the driver has ended.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        self.events.recv().await
    }

    /// Keys that an unknown store does not have are to be deleted now.
    pub async fn accept_absence(&self) {
        // The driver has ended: there is nobody left to tell.
        let _ = self.control.send(Control::AcceptAbsence).await;
    }

    /// Lists again, for readers that want to see the same content twice.
    pub async fn relist(&self) {
        let _ = self.control.send(Control::Relist).await;
    }
}

async fn drive(mut following: Following, events: mpsc::Sender<Vec<Event>>, mut commands: mpsc::Receiver<Control>) {
    loop {
        tokio::select! {
            told = following.next() => {
                if events.send(told).await.is_err() {
                    return;
                }
            }
            command = commands.recv() => match command {
                Some(Control::AcceptAbsence) => following.accept_absence(),
                Some(Control::Relist) => following.relist(),
                None => return,
            },
            () = events.closed() => return,
        }
    }
}
