//! Locks in etcd's mutex protocol, so that ours and those of other writers exclude each other.
//!
//! A contender puts `<path>/<its lease in hex>` and holds the lock once no key under the path is
//! older. Who holds it proves so in each transaction: the key still has its create revision.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard},
    time::{sleep, timeout},
};
use tracing::debug;

use crate::{Backend, Cause, Compare, Error, KeyEvent, KeyValue, Leases, Op, OpResult, Range, Revision, Txn};

/// Tries to give a lock back that could not be deleted; its lease is alive, so nobody else will.
const RELEASE_RETRY: Duration = Duration::from_secs(1);

/// Locks of one connection, on lock leases ([`LOCK_LEASE_TTL`](crate::LOCK_LEASE_TTL)).
pub struct Locks {
    backend: Arc<dyn Backend>,
    leases: Arc<Leases>,
    /// Two holders in one process would have the same key: they queue here first.
    local: Mutex<HashMap<Bytes, Weak<AsyncMutex<()>>>>,
    abandoned: Arc<Abandoned>,
}

/// A key in the store, and our place in the process's own queue for it.
struct Held {
    path: Bytes,
    key: Bytes,
    _local: OwnedMutexGuard<()>,
}

#[derive(Default)]
struct Abandoned {
    held: Mutex<Vec<Held>>,
    some: Notify,
}

/// A held lock. Give it back with [`Locks::unlock`]; one that is dropped is given back by
/// [`Locks::release_abandoned`].
pub struct LockGuard {
    create_revision: Revision,
    key: Bytes,
    held: Option<Held>,
    abandoned: Arc<Abandoned>,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("lock {path:?} was not acquired within {after:?}")]
    Timeout { path: String, after: Duration },
    #[error("lock {path:?}: our lease ended while we waited for it")]
    LeaseLost { path: String },
    #[error("lock {path:?} cannot be acquired")]
    Store {
        path: String,
        #[source]
        source: Error,
    },
}

// === impl Locks ===

impl Locks {
    pub fn new(backend: Arc<dyn Backend>, leases: Arc<Leases>) -> Arc<Self> {
        Arc::new(Self { backend, leases, local: Mutex::default(), abandoned: Arc::default() })
    }

    /// Waits for the lock.
    pub async fn lock(&self, path: &str, within: Duration) -> Result<LockGuard, LockError> {
        match timeout(within, self.acquire(path)).await {
            Ok(answer) => answer,
            Err(_) => Err(LockError::Timeout { path: path.to_owned(), after: within }),
        }
    }

    async fn acquire(&self, path: &str) -> Result<LockGuard, LockError> {
        let failed = |source| LockError::Store { path: path.to_owned(), source };
        let local = self.local_mutex(path).lock_owned().await;
        let path_bytes = Bytes::copy_from_slice(path.as_bytes());
        let lease = self.leases.lease_for(&path_bytes).await.map_err(failed)?;
        let key = Bytes::from(format!("{path}/{lease}"));
        let contenders = Range::prefix(format!("{path}/"));
        // From here on, dropping the future leaves a key behind: the guard takes care of it.
        let held = Held { path: path_bytes, key: key.clone(), _local: local };
        let mut guard =
            LockGuard { create_revision: 0, key: key.clone(), held: Some(held), abandoned: self.abandoned.clone() };
        let put = Txn::when([Compare::CreateRevision(key.clone(), 0)])
            .then([Op::put(key.clone(), "", Some(lease)), Op::Range(contenders.clone())])
            .or_else([Op::Range(contenders.clone())]);
        let answer = match self.backend.txn(put).await {
            Ok(answer) => answer,
            Err(error) => {
                if error.cause == Cause::LeaseNotFound {
                    self.leases.handle_lease_not_found(lease);
                }
                return Err(failed(error));
            }
        };
        let mut header = answer.header;
        let mut holders =
            answer.results.into_iter().find_map(|r| if let OpResult::Range(kvs) = r { Some(kvs) } else { None });
        loop {
            let kvs = holders.take().unwrap_or_default();
            let Some(own) = kvs.iter().find(|kv| kv.key == key) else {
                self.leases.handle_lease_not_found(lease);
                return Err(LockError::LeaseLost { path: path.to_owned() });
            };
            guard.create_revision = own.create_revision;
            let older = kvs.iter().filter(|kv| kv.create_revision < own.create_revision);
            let Some(before) = older.max_by_key(|kv| kv.create_revision) else { return Ok(guard) };
            self.wait_for_delete(before, header.revision).await.map_err(failed)?;
            let answer = self.backend.range(contenders.clone()).await.map_err(failed)?;
            (header, holders) = (answer.header, Some(answer.kvs));
        }
    }

    /// Gives the lock back. On an error it is tried again in the background.
    pub async fn unlock(&self, mut guard: LockGuard) -> Result<(), Error> {
        self.backend.delete(guard.key.clone()).await?;
        if let Some(held) = guard.held.take() {
            self.leases.release(&held.path);
        }
        Ok(())
    }

    /// Gives back locks that were dropped, or whose return failed. Never ends: spawn it.
    pub async fn release_abandoned(self: Arc<Self>) {
        loop {
            let next = self.abandoned.held.lock().pop();
            let Some(held) = next else {
                self.abandoned.some.notified().await;
                continue;
            };
            match self.backend.delete(held.key.clone()).await {
                Ok(_) => self.leases.release(&held.path),
                Err(error) => {
                    debug!(error = error.full(), "cannot give a lock back");
                    self.abandoned.held.lock().push(held);
                    sleep(RELEASE_RETRY).await;
                }
            }
        }
    }

    async fn wait_for_delete(&self, holder: &KeyValue, seen: Revision) -> Result<(), Error> {
        let mut stream = self.backend.watch(Range::key(holder.key.clone()), seen + 1).await?;
        loop {
            let batch = match stream.next().await {
                Ok(batch) => batch,
                // The caller looks again.
                Err(error) if error.is_retryable() || matches!(error.cause, Cause::Compacted(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
            if batch.events.iter().any(|event| matches!(event, KeyEvent::Delete { .. })) {
                return Ok(());
            }
        }
    }

    fn local_mutex(&self, path: &str) -> Arc<AsyncMutex<()>> {
        let mut local = self.local.lock();
        local.retain(|_, mutex| mutex.strong_count() > 0);
        let path = Bytes::copy_from_slice(path.as_bytes());
        if let Some(mutex) = local.get(&path).and_then(Weak::upgrade) {
            return mutex;
        }
        let mutex = Arc::new(AsyncMutex::new(()));
        local.insert(path, Arc::downgrade(&mutex));
        mutex
    }
}

// === impl LockGuard ===

impl LockGuard {
    /// Holds as long as the lock does: put it into each transaction that the lock protects.
    pub fn still_held(&self) -> Compare {
        Compare::CreateRevision(self.key.clone(), self.create_revision)
    }

    pub fn key(&self) -> &Bytes {
        &self.key
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.abandoned.held.lock().push(held);
            self.abandoned.some.notify_one();
        }
    }
}
