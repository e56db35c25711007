//! The driver of [`ListWatch`]: carries out its effects, one at a time.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::debug;

use crate::{Backend, Effect, Error, Event, ListWatch, WatchBatch, WatchStream};

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
    let driver = drive(backend, ListWatch::new(prefix), events, commands);
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

async fn drive(
    backend: Arc<dyn Backend>,
    mut core: ListWatch,
    events: mpsc::Sender<Vec<Event>>,
    mut commands: mpsc::Receiver<Control>,
) {
    let mut stream: Option<Box<dyn WatchStream>> = None;
    loop {
        while let Some(effect) = core.poll_effect() {
            match effect {
                Effect::Emit(batch) => {
                    if events.send(batch).await.is_err() {
                        return;
                    }
                }
                Effect::Prove(range) => {
                    stream = None;
                    let answer = backend.range(range).await;
                    core.handle_proof(runtime::now(), logged(answer), rand::random());
                }
                Effect::List(range) => {
                    stream = None;
                    let answer = backend.range(range).await;
                    core.handle_page(runtime::now(), logged(answer), rand::random());
                }
                Effect::Watch { range, from } => match backend.watch(range, from).await {
                    Ok(opened) => stream = Some(opened),
                    Err(error) => core.handle_batch(runtime::now(), logged(Err(error)), rand::random()),
                },
            }
        }
        let timeout = core.poll_timeout();
        tokio::select! {
            answer = next_batch(&mut stream) => {
                if answer.is_err() {
                    stream = None;
                }
                core.handle_batch(runtime::now(), logged(answer), rand::random());
            }
            () = runtime::sleep_until(timeout) => core.handle_timeout(runtime::now()),
            command = commands.recv() => match command {
                Some(Control::AcceptAbsence) => core.handle_accept_absence(),
                Some(Control::Relist) => core.handle_relist(),
                None => return,
            },
            () = events.closed() => return,
        }
    }
}

async fn next_batch(stream: &mut Option<Box<dyn WatchStream>>) -> Result<WatchBatch, Error> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}

fn logged<T>(answer: Result<T, Error>) -> Result<T, Error> {
    if let Err(error) = &answer {
        debug!(error = error.full(), "list-watch interrupted");
    }
    answer
}
