//! Which operator writes: the one that holds the lock, for as long as its lease lives.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kvstore::{Leases, Locks};
use prometheus::IntGauge;
use tokio::sync::watch;

/// A candidate asks again after this time; it waits for the lock all along.
const PATIENCE: Duration = Duration::from_secs(3600);

/// After an attempt that failed.
const RETRY: Duration = Duration::from_secs(2);

/// How long giving the lock back may take, when the process ends.
const GIVE_BACK: Duration = Duration::from_secs(2);

pub(crate) struct Election {
    pub(crate) locks: Arc<Locks>,
    /// Of the locks.
    pub(crate) leases: Arc<Leases>,
    pub(crate) path: String,
    /// Who we are, for the log.
    pub(crate) identity: String,
    /// Whether we lead, for those who go on watching while we do not.
    pub(crate) leading: watch::Sender<bool>,
    /// 1 while we lead.
    pub(crate) gauge: IntGauge,
}

// === impl Election ===

impl Election {
    /// Runs `lead` whenever we lead, until `stop`; then the next candidate may lead at once.
    pub(crate) async fn run<F: Future<Output = ()>>(self, stop: impl Future<Output = ()>, lead: impl Fn() -> F) {
        tokio::select! {
            () = self.stand(lead) => {}
            () = stop => {}
        }
        // What we led is dropped: only now may somebody else. Our place in the queue goes too.
        match tokio::time::timeout(GIVE_BACK, self.leases.give_back()).await {
            Ok(Ok(())) => tracing::info!(identity = self.identity, "the lock is given back"),
            Ok(Err(error)) => {
                tracing::warn!(error = error.full(), "the lock is not given back: it ends with its lease")
            }
            Err(_) => tracing::warn!("the lock is not given back in time: it ends with its lease"),
        }
    }

    /// Runs `lead` whenever we lead; drops it the moment that the lock's lease is lost. Never ends.
    async fn stand<F: Future<Output = ()>>(&self, lead: impl Fn() -> F) {
        loop {
            let mut lost = self.leases.lost_keys(self.path.clone());
            let guard = match self.locks.lock(&self.path, PATIENCE).await {
                Ok(guard) => guard,
                Err(kvstore::LockError::Timeout { .. }) => continue,
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, source, "cannot run for leader");
                    runtime::sleep(RETRY).await;
                    continue;
                }
            };
            // Lost while it was being acquired: then the guard holds nothing.
            if lost.try_recv().is_err() {
                tracing::info!(identity = self.identity, "leading");
                self.gauge.set(1);
                self.leading.send_replace(true);
                tokio::select! {
                    () = lead() => {}
                    _ = lost.recv() => {}
                }
                self.leading.send_replace(false);
                self.gauge.set(0);
                tracing::warn!(identity = self.identity, "stepped down: the lock's lease is lost");
            }
            drop(guard);
            // The abandoned key goes first, else we would meet ourselves.
            runtime::sleep(RETRY).await;
        }
    }
}
