//! Threads that serve connections. Each has a runtime of its own: what one connection's requests wake runs behind what
//! is already waiting on the same thread, so that answers gather and a connection is written to once for many of them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use runtime::Tasks;
use tokio::sync::mpsc;

use super::{Door, Listener, Served, connection, door::Guest, listener::Accepted, tls};
use crate::driver::Mailbox;

/// After an accept that failed: out of files, or a client that left.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Workers {
    tasks: Tasks,
    threads: Vec<JoinHandle<()>>,
}

/// A connection and its place among those that may be open.
type Given = (Accepted, Guest);

/// Gives connections to the workers in turn.
#[derive(Clone)]
struct Givers(Arc<(Vec<mpsc::UnboundedSender<Given>>, AtomicUsize)>);

// === impl Workers ===

impl Workers {
    pub(crate) fn new(tasks: Tasks) -> Self {
        Self { tasks, threads: Vec::new() }
    }

    /// Serves what comes to the listeners with so many threads.
    ///
    /// # Errors
    /// When the system has no more threads or files.
    pub(crate) fn start(&mut self, count: usize, served: &Served, listeners: Vec<Listener>) -> io::Result<()> {
        let (givers, taken): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let givers = Givers(Arc::new((givers, AtomicUsize::new(0))));
        let mut listeners = Some(listeners);
        for given in taken {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let mailbox = Arc::new(Mailbox::default());
            let served = Served { handle: served.handle.with_mailbox(mailbox.clone()), ..served.clone() };
            let (tasks, givers, door) = (self.tasks.clone(), givers.clone(), served.shared.door.clone());
            // The first thread accepts for all.
            let listeners = listeners.take().unwrap_or_default();
            let thread = std::thread::Builder::new().name("store-edge".to_owned()).spawn(move || {
                runtime.block_on(async move {
                    tasks.spawn_finite("store mailbox", async move { mailbox.serve().await });
                    if let Some(tls) = listeners.iter().find_map(Listener::tls) {
                        tasks.spawn_finite("certificate files", tls::watch_files(tls.clone()));
                    }
                    for listener in listeners {
                        tasks.spawn_finite("store listener", accept(listener, givers.clone(), door.clone()));
                    }
                    let stopping = tasks.stopping();
                    tokio::select! {
                        () = stopping.cancelled() => {}
                        () = serve(given, served, &tasks) => {}
                    }
                });
            })?;
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Ends what runs there, wherever it is.
    pub(crate) fn stop(&mut self) {
        self.tasks.stopping().cancel();
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended, too.
            drop(thread.join());
        }
    }
}

async fn serve(mut given: mpsc::UnboundedReceiver<Given>, served: Served, tasks: &Tasks) {
    let builder = connection::builder();
    while let Some((accepted, guest)) = given.recv().await {
        let (builder, served) = (builder.clone(), served.clone());
        tasks.spawn_finite("store connection", async move {
            match accepted.open() {
                Ok(arrival) => connection::serve(builder, arrival, guest, served).await,
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
        });
    }
}

/// Accepts for ever.
async fn accept(listener: Listener, givers: Givers, door: Door) {
    let listener = match listener.open() {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "nothing can be accepted"),
    };
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                if let Some(guest) = door.enter() {
                    givers.give((accepted, guest));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

// === impl Givers ===

impl Givers {
    fn give(&self, given: Given) {
        let (workers, next) = &*self.0;
        let worker = next.fetch_add(1, Ordering::Relaxed) % workers.len();
        // A worker that is gone stops with the server.
        drop(workers[worker].send(given));
    }
}
