//! Carries a table to the outside world and keeps it there.
//!
//! ```text
//!   Changes ──> Core (what is due, in which order) ──Vec<Op>──> Target::apply ──results──> Core (retry, status)
//!                     └── once initialised, and on a timer: Target::prune against the live rows
//! ```
//! The [`Core`] holds no clock and no task. [`run`] is the thin loop that does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::{Reader, Row, RowRef, Snapshot};

mod core;

pub use core::{Core, Status, Summary};

/// One thing to make true outside.
#[derive(Debug, Clone)]
pub enum Op<R> {
    /// The row shall be there as it is.
    Update(RowRef<R>),
    /// The row shall not be there.
    Delete(RowRef<R>),
}

/// The outside world of one table.
///
/// Both operations are idempotent: a retry repeats what may already have happened.
pub trait Target<R: Row>: Send {
    /// Makes a batch true; one result for each operation, in order.
    fn apply(&mut self, batch: &[Op<R>]) -> impl Future<Output = Vec<Result<(), String>>> + Send;

    /// Removes what is outside and has no live row; returns how many went. Called only with an initialised table.
    fn prune(&mut self, live: &Snapshot<R>) -> impl Future<Output = Result<usize, String>> + Send;
}

/// How a reconciler works.
#[derive(Debug, Clone)]
pub struct Options {
    /// At most this many operations a batch.
    pub batch: usize,
    /// First wait after a failure; doubles with each.
    pub backoff: Duration,
    /// Longest wait between retries.
    pub max_backoff: Duration,
    /// Every row is applied again this often, against changes behind our back.
    pub resync: Duration,
}

/// A view of a running reconciler for status and tests.
pub struct Handle<R: Row>(Arc<Mutex<Core<R>>>);

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            // 128 operations are etcd's default limit of a transaction, and past the knee of the kernel's batch calls.
            batch: 128,
            backoff: Duration::from_millis(50),
            // The outside world that is back shall be right within seconds.
            max_backoff: Duration::from_secs(3),
            resync: Duration::from_secs(300),
        }
    }
}

// === impl Handle ===

impl<R: Row> Clone for Handle<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Row> Handle<R> {
    /// A handle for a reconciler that is about to run.
    pub fn new(options: Options) -> Self {
        Self(Arc::new(Mutex::new(Core::new(options))))
    }

    /// How the reconciler stands.
    pub fn summary(&self) -> Summary {
        self.0.lock().summary()
    }

    /// How one row stands; `None` when it was never seen or is gone.
    pub fn status(&self, key: &R::Key) -> Option<Status> {
        self.0.lock().status(key).cloned()
    }
}

/// Runs until the future is dropped.
pub async fn run<R: Row>(reader: Reader<R>, mut target: impl Target<R>, handle: Handle<R>) {
    let mut changes = reader.changes();
    loop {
        let (batch, live) = changes.drain_with_snapshot();
        handle.0.lock().handle_changes(runtime::now(), &batch);
        loop {
            let due = handle.0.lock().poll_batch(runtime::now(), &live);
            if due.is_empty() {
                break;
            }
            let results = target.apply(&due).await;
            let failed = handle.0.lock().handle_results(runtime::now(), &due, results);
            for (key, error) in failed {
                tracing::warn!(table = R::TABLE, ?key, error, "reconcile row");
            }
        }
        if handle.0.lock().poll_prune(runtime::now(), live.is_initialised()) {
            let result = target.prune(&live).await;
            match &result {
                Ok(0) => {}
                Ok(count) => tracing::info!(table = R::TABLE, count, "pruned"),
                Err(error) => tracing::warn!(table = R::TABLE, error, "prune"),
            }
            handle.0.lock().handle_prune(runtime::now(), result);
        }
        let timeout = handle.0.lock().poll_timeout();
        tokio::select! {
            () = changes.wait() => {}
            () = runtime::sleep_until(timeout) => {}
        }
    }
}
