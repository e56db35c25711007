//! The driver of [`ListWatch`] as a future of its reader: what the store sends is told in the task that waits for it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use crate::{Backend, Effect, Error, Event, ListWatch, RangeResult, WatchBatch, WatchStream};

/// A prefix, followed for ever. Nothing goes on but while [`next`](Self::next) is awaited, except that the next page of a
/// list is asked for before the one in hand is read.
pub struct Following {
    backend: Arc<dyn Backend>,
    core: ListWatch,
    stream: Option<Box<dyn WatchStream>>,
    /// At most one request is out.
    request: Option<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    told: VecDeque<Vec<Event>>,
}

enum Answer {
    Proof(Result<RangeResult, Error>),
    Page(Result<RangeResult, Error>),
    Watch(Result<Box<dyn WatchStream>, Error>),
}

// === impl Following ===

impl Following {
    /// Every key with this prefix.
    pub fn new(backend: Arc<dyn Backend>, prefix: impl Into<Bytes>) -> Self {
        let core = ListWatch::new(prefix);
        Self { backend, core, stream: None, request: None, told: VecDeque::new() }
    }

    /// The next events, in order. Cancel safe.
    pub async fn next(&mut self) -> Vec<Event> {
        loop {
            self.begin();
            if let Some(events) = self.told.pop_front() {
                if let Some(request) = &mut self.request {
                    // Asked for now, so that the store is at it while the reader is at these.
                    tokio::select! {
                        biased;
                        answer = request => self.answered(answer),
                        () = std::future::ready(()) => {}
                    }
                }
                return events;
            }
            if let Some(request) = &mut self.request {
                let answer = request.await;
                self.answered(answer);
                continue;
            }
            let timeout = self.core.poll_timeout();
            tokio::select! {
                answer = next_batch(&mut self.stream) => {
                    if answer.is_err() {
                        self.stream = None;
                    }
                    self.core.handle_batch(runtime::now(), logged(answer), rand::random());
                }
                () = runtime::sleep_until(timeout) => self.core.handle_timeout(runtime::now()),
            }
        }
    }

    /// Keys that an unknown store does not have are to be deleted now.
    pub fn accept_absence(&mut self) {
        self.core.handle_accept_absence();
    }

    /// Lists again, for readers that want to see the same content twice.
    pub fn relist(&mut self) {
        self.core.handle_relist();
    }

    /// Takes what the core wants done, up to the request that it waits for.
    fn begin(&mut self) {
        while self.request.is_none()
            && let Some(effect) = self.core.poll_effect()
        {
            let backend = Arc::clone(&self.backend);
            match effect {
                Effect::Emit(events) => self.told.push_back(events),
                Effect::Prove(range) => {
                    self.stream = None;
                    self.request = Some(Box::pin(async move { Answer::Proof(backend.range(range).await) }));
                }
                Effect::List(range) => {
                    self.stream = None;
                    self.request = Some(Box::pin(async move { Answer::Page(backend.range(range).await) }));
                }
                Effect::Watch { range, from } => {
                    self.request = Some(Box::pin(async move { Answer::Watch(backend.watch(range, from).await) }));
                }
            }
        }
    }

    fn answered(&mut self, answer: Answer) {
        self.request = None;
        let now = runtime::now();
        match answer {
            Answer::Proof(answer) => self.core.handle_proof(now, logged(answer), rand::random()),
            Answer::Page(answer) => self.core.handle_page(now, logged(answer), rand::random()),
            Answer::Watch(Ok(stream)) => self.stream = Some(stream),
            Answer::Watch(Err(error)) => self.core.handle_batch(now, logged(Err(error)), rand::random()),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;
    use crate::fake::Fake;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A task that wakes itself is queued anew, and a runtime with several threads wakes another one for it: that cost more
    /// than all else that was done for a change.
    #[test]
    fn a_change_wakes_its_reader_once() {
        let fake = Fake::new();
        let put = |value: &'static str| {
            let mut put = fake.put("p/a".into(), value.into(), None);
            let done = put.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(done, Poll::Ready(Ok(_))));
        };
        put("1");
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let told = AtomicUsize::new(0);
        let mut following = Following::new(Arc::new(fake.clone()), "p/");
        let mut reader = std::pin::pin!(async {
            loop {
                told.fetch_add(following.next().await.len(), Ordering::Relaxed);
            }
        });
        let mut read = || {
            assert!(reader.as_mut().poll(&mut context).is_pending());
            told.load(Ordering::Relaxed)
        };
        assert_eq!(read(), 2, "the key, and the end of the list");
        let before = wakes.0.load(Ordering::Relaxed);
        put("2");
        assert_eq!(read(), 3);
        assert_eq!(wakes.0.load(Ordering::Relaxed) - before, 1);
    }
}
