//! Keys that live as long as this process does.
//!
//! Leases are granted when they are first needed, renewed at a third of their time, and never
//! revoked at the end: a restarted process has all its keys still, and puts them anew.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};
use tracing::warn;

use crate::{
    Backend, Cause, Error, Header, LeaseId,
    core::lease_pool::{LeasePool, MAX_KEYS},
};

/// How long keys outlive their writer, as in Cilium.
pub const KEY_LEASE_TTL: Duration = Duration::from_secs(15 * 60);

/// How long a lock outlives its holder.
pub const LOCK_LEASE_TTL: Duration = Duration::from_secs(25);

/// One kind of lease (keys, or locks) of one connection.
pub struct Leases {
    backend: Arc<dyn Backend>,
    ttl: Duration,
    pool: Mutex<LeasePool>,
    /// Whoever needs a lease waits for the one grant that is under way.
    granting: AsyncMutex<()>,
    granted: Notify,
    listeners: Mutex<Vec<(Bytes, mpsc::UnboundedSender<Bytes>)>>,
}

// === impl Leases ===

impl Leases {
    pub fn new(backend: Arc<dyn Backend>, ttl: Duration) -> Arc<Self> {
        Self::with_max_keys(backend, ttl, MAX_KEYS)
    }

    fn with_max_keys(backend: Arc<dyn Backend>, ttl: Duration, max_keys: usize) -> Arc<Self> {
        Arc::new(Self {
            backend,
            ttl,
            pool: Mutex::new(LeasePool::new(max_keys)),
            granting: AsyncMutex::new(()),
            granted: Notify::new(),
            listeners: Mutex::default(),
        })
    }

    /// The keys with this prefix whose lease is lost, as it happens: their owner must put them again.
    /// Unbounded, but never more than the keys that were put.
    pub fn lost_keys(&self, prefix: impl Into<Bytes>) -> mpsc::UnboundedReceiver<Bytes> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.listeners.lock().push((prefix.into(), sender));
        receiver
    }

    /// The lease for this key, which it keeps until the key is released or the lease lost.
    pub async fn lease_for(&self, key: &Bytes) -> Result<LeaseId, Error> {
        loop {
            if let Some(lease) = self.pool.lock().assign(key) {
                return Ok(lease);
            }
            let _one = self.granting.lock().await;
            if let Some(lease) = self.pool.lock().assign(key) {
                return Ok(lease);
            }
            let asked = runtime::now();
            let grant = self.backend.lease_grant(self.ttl).await?;
            // Counted from before the request: the store's own clock started no earlier.
            self.pool.lock().handle_granted(asked, grant.id, grant.ttl);
            self.granted.notify_one();
        }
    }

    /// Puts a key on its lease; once more with a new one if the store has lost the first.
    pub async fn put(&self, key: Bytes, value: Bytes) -> Result<Header, Error> {
        let lease = self.lease_for(&key).await?;
        match self.backend.put(key.clone(), value.clone(), Some(lease)).await {
            Err(error) if error.cause == Cause::LeaseNotFound => {
                self.handle_not_found(lease, Some(&key));
                let lease = self.lease_for(&key).await?;
                self.backend.put(key, value, Some(lease)).await
            }
            answer => answer,
        }
    }

    /// Deletes a key and frees its place.
    pub async fn delete(&self, key: Bytes) -> Result<(Header, i64), Error> {
        let answer = self.backend.delete(key.clone()).await?;
        self.pool.lock().release(&key);
        Ok(answer)
    }

    /// The key is no longer ours to keep alive.
    pub fn release(&self, key: &Bytes) {
        self.pool.lock().release(key);
    }

    /// For writers that use the lease in transactions of their own: the store does not know it.
    pub fn handle_lease_not_found(&self, lease: LeaseId) {
        self.handle_not_found(lease, None);
    }

    fn handle_not_found(&self, lease: LeaseId, except: Option<&Bytes>) {
        let mut lost = self.pool.lock().handle_lost(lease);
        lost.retain(|key| Some(key) != except);
        self.tell(lease, lost);
    }

    fn tell(&self, lease: LeaseId, lost: Vec<Bytes>) {
        if lost.is_empty() {
            return;
        }
        warn!(%lease, keys = lost.len(), "lease lost");
        let mut listeners = self.listeners.lock();
        listeners.retain(|(_, sender)| !sender.is_closed());
        for key in lost {
            for (_, sender) in listeners.iter().filter(|(prefix, _)| key.starts_with(prefix)) {
                // Closed between the two lines: nobody wants to know any more.
                let _ = sender.send(key.clone());
            }
        }
    }

    /// Revokes them all, and with them every key on them. For locks, once nothing of ours writes any more: whoever waits
    /// for one need not wait for its lease to end. Keys of an agent must outlive it, so it never asks for this.
    pub async fn give_back(&self) -> Result<(), Error> {
        for lease in self.held() {
            match self.backend.lease_revoke(lease).await {
                Err(error) if error.cause != Cause::LeaseNotFound => return Err(error),
                _ => drop(self.pool.lock().handle_lost(lease)),
            }
        }
        Ok(())
    }

    /// How many leases are held; for the status.
    pub fn count(&self) -> usize {
        self.pool.lock().len()
    }

    pub fn held(&self) -> Vec<LeaseId> {
        self.pool.lock().leases()
    }

    /// Keeps the leases alive. Never ends: spawn it.
    pub async fn keep_alive(self: Arc<Self>) {
        loop {
            let next = self.pool.lock().poll_timeout();
            tokio::select! {
                () = runtime::sleep_until(next) => {}
                () = self.granted.notified() => continue,
            }
            let due = self.pool.lock().due(runtime::now());
            for lease in due {
                self.renew(lease).await;
            }
        }
    }

    async fn renew(&self, lease: LeaseId) {
        let asked = runtime::now();
        let answer = self.backend.lease_keep_alive(lease).await;
        match answer {
            Ok(ttl) => self.pool.lock().handle_renewed(asked, lease, ttl),
            Err(error) if error.cause == Cause::LeaseNotFound => self.handle_not_found(lease, None),
            Err(error) => {
                warn!(error = error.full(), "cannot renew a lease");
                let lost = self.pool.lock().handle_renewal_failed(runtime::now(), lease);
                self.tell(lease, lost);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn setup(max_keys: usize) -> (Fake, Arc<Leases>) {
        let fake = Fake::new();
        let leases = Leases::with_max_keys(Arc::new(fake.clone()), KEY_LEASE_TTL, max_keys);
        (fake, leases)
    }

    #[tokio::test]
    async fn many_keys_share_leases_up_to_the_bound() {
        let (fake, leases) = setup(2);
        for key in ["a", "b", "c", "a"] {
            leases.put(key.into(), "1".into()).await.unwrap();
        }
        assert_eq!(leases.count(), 2);
        assert_eq!(fake.requests().iter().filter(|r| r.starts_with("lease grant")).count(), 2);
    }

    #[tokio::test]
    async fn a_key_whose_lease_the_store_forgot_is_put_on_another_and_the_rest_is_reported() {
        let (fake, leases) = setup(1000);
        let mut lost = leases.lost_keys("p/");
        for key in ["p/a", "p/b", "q/c"] {
            leases.put(key.into(), "1".into()).await.unwrap();
        }
        fake.advance(KEY_LEASE_TTL);
        leases.put("p/a".into(), "2".into()).await.unwrap();
        assert_eq!(lost.try_recv().unwrap(), "p/b");
        assert!(lost.try_recv().is_err(), "p/a was put again, q/c is not ours");
        let stored = fake.range(crate::Range::prefix("")).await.unwrap().kvs;
        assert_eq!(stored.iter().map(|kv| &kv.key[..]).collect::<Vec<_>>(), [b"p/a"]);
    }

    #[tokio::test]
    async fn what_is_given_back_is_gone_at_once_with_its_keys() {
        let (fake, leases) = setup(1);
        for key in ["a", "b"] {
            leases.put(key.into(), "1".into()).await.unwrap();
        }
        fake.put("c".into(), "1".into(), None).await.unwrap();
        fake.lease_revoke(leases.held()[0]).await.unwrap();
        leases.give_back().await.unwrap();
        let stored = fake.range(crate::Range::prefix("")).await.unwrap().kvs;
        assert_eq!(stored.iter().map(|kv| &kv.key[..]).collect::<Vec<_>>(), [b"c"]);
        assert_eq!(leases.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn leases_are_kept_alive_while_the_store_answers() {
        let (fake, leases) = setup(1000);
        leases.put("a".into(), "1".into()).await.unwrap();
        let mut lost = leases.lost_keys("");
        let keeper = leases.clone().keep_alive();
        tokio::pin!(keeper);
        // Six lifetimes pass on both clocks, in steps of a third of one.
        for _ in 0..18 {
            let _ = tokio::time::timeout(KEY_LEASE_TTL / 3, &mut keeper).await;
            fake.advance(KEY_LEASE_TTL / 3);
        }
        assert_eq!(fake.range(crate::Range::key("a")).await.unwrap().kvs.len(), 1);
        assert!(lost.try_recv().is_err());
        fake.set_unavailable(true);
        let _ = tokio::time::timeout(KEY_LEASE_TTL * 2, &mut keeper).await;
        assert_eq!(lost.try_recv().unwrap(), "a", "after its time the key is lost, whatever the store says");
        assert_eq!(leases.count(), 0);
    }
}
