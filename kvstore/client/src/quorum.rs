//! Whether the store can still agree on a write: a lock of our own, taken and given back now and then.
//!
//! A read of a member that has lost the others may still be answered by it; a lock needs a majority. Our own store only:
//! into those of others nothing is written.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{LockError, Locks, chain};

/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two checks, while the last one succeeded and after it failed; Cilium's, for a cluster of e - 1 nodes.
const PAUSES: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));

/// What the checks found.
#[derive(Debug, Clone, Default)]
pub struct QuorumStatus {
    pub last_success: Option<Instant>,
    /// Since the last success.
    pub consecutive_errors: u32,
    /// Since the start.
    pub errors: u64,
    pub last_error: Option<String>,
}

/// The checks of one store.
#[derive(Default)]
pub struct Quorum(Mutex<QuorumStatus>);

// === impl Quorum ===

impl Quorum {
    pub fn status(&self) -> QuorumStatus {
        self.0.lock().clone()
    }

    /// Checks for ever: spawn it. `path` is asked for each check and no other client may use it; all clients of a
    /// cluster ask together, so more `nodes` ask less often.
    pub async fn run(self: Arc<Self>, locks: Arc<Locks>, path: impl Fn() -> String, nodes: impl Fn() -> usize) {
        loop {
            self.learn(check(&locks, &path()).await);
            let succeeded = self.0.lock().consecutive_errors == 0;
            runtime::sleep(pause(succeeded, nodes())).await;
        }
    }

    fn learn(&self, answer: Result<(), LockError>) {
        let mut status = self.0.lock();
        match answer {
            Ok(()) => {
                status.last_success = Some(runtime::now());
                status.consecutive_errors = 0;
                status.last_error = None;
            }
            Err(error) => {
                status.consecutive_errors += 1;
                status.errors += 1;
                status.last_error = Some(chain(&error));
            }
        }
    }
}

async fn check(locks: &Locks, path: &str) -> Result<(), LockError> {
    let guard = locks.lock(path, PATIENCE).await?;
    // What cannot be given back now is given back in the background; a quorum there was.
    let _ = locks.unlock(guard).await;
    Ok(())
}

/// Grows with the logarithm of the cluster, as Cilium's does: 20 s alone, 145 s with 128 nodes.
fn pause(succeeded: bool, nodes: usize) -> Duration {
    let base = if succeeded { PAUSES.0 } else { PAUSES.1 };
    base.mul_f64((nodes.max(1) as f64).ln_1p())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, Client, ClientOptions, LOCK_LEASE_TTL, Leases, Range, fake::Fake};

    #[tokio::test(start_paused = true)]
    async fn a_store_that_cannot_write_is_found_out_and_one_that_can_again() {
        let fake = Fake::new();
        let store: Arc<dyn Backend> = Client::new(Arc::new(fake.clone()), ClientOptions::default());
        let locks = Locks::new(Arc::clone(&store), Leases::new(Arc::clone(&store), LOCK_LEASE_TTL));
        let quorum = Arc::new(Quorum::default());
        let path = || format!("cilium/.initlock/{:x}", rand::random::<u64>());
        let checks = async {
            tokio::join!(Arc::clone(&quorum).run(Arc::clone(&locks), path, || 1), locks.clone().release_abandoned())
        };
        tokio::pin!(checks);
        let mut pass = async |secs| {
            let _ = tokio::time::timeout(Duration::from_secs(secs), &mut checks).await;
        };
        pass(1).await;
        assert!(quorum.status().last_success.is_some());
        let held = fake.range(Range::prefix("cilium/.initlock/")).await.unwrap().kvs;
        assert!(held.is_empty(), "the lock was given back");
        fake.set_delay(Duration::from_secs(60));
        pass(60).await;
        let status = quorum.status();
        assert!(status.consecutive_errors >= 2, "{status:?}");
        assert!(status.last_error.is_some_and(|why| why.contains("within 10s")));
        fake.set_delay(Duration::ZERO);
        pass(60).await;
        assert_eq!(quorum.status().consecutive_errors, 0);
        assert!(quorum.status().errors >= 2, "the count stays");
        let left = fake.range(Range::prefix("cilium/.initlock/")).await.unwrap().kvs;
        assert!(left.is_empty(), "nothing is left of the checks that failed: {left:?}");
    }

    #[test]
    fn large_clusters_ask_less_often() {
        let secs = |ok, nodes| pause(ok, nodes).as_secs();
        assert_eq!([secs(true, 0), secs(true, 1), secs(true, 128), secs(false, 1)], [20, 20, 145, 3]);
    }
}
