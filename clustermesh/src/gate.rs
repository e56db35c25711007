//! A store that may be away, or be another one after a while. Who asks while it is away waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kvstore::{
    Backend, Cause, Error, Header, LeaseGrant, LeaseId, Operation, Pending, Range, RangeResult, Revision, ServerStatus,
    Txn, TxnResult, WatchBatch, WatchStream,
};
use tokio::sync::watch;

/// Passes requests on to the store behind it while it is open.
#[derive(Clone)]
pub struct Gate {
    current: watch::Sender<Option<Arc<dyn Backend>>>,
    /// Says that the store behind it can no longer be used: it answers as another cluster.
    broken: watch::Sender<u64>,
}

struct GateWatch {
    inner: Box<dyn WatchStream>,
    /// Marked changed when the gate closes or opens to another store.
    gate: watch::Receiver<Option<Arc<dyn Backend>>>,
    broken: watch::Sender<u64>,
    key: Bytes,
}

// === impl Gate ===

impl Gate {
    /// Closed. `broken` counts answers that only a new connection can cure.
    pub fn new(broken: watch::Sender<u64>) -> Self {
        Self { current: watch::Sender::new(None), broken }
    }

    /// Lets requests through to this store; watches on another one end.
    pub fn open(&self, store: Arc<dyn Backend>) {
        self.current.send_replace(Some(store));
    }

    /// Requests wait, watches end.
    pub fn close(&self) {
        self.current.send_replace(None);
    }

    /// Whether requests pass.
    pub fn is_open(&self) -> bool {
        self.current.borrow().is_some()
    }

    async fn store(&self) -> Arc<dyn Backend> {
        let mut current = self.current.subscribe();
        loop {
            let store = current.borrow_and_update().clone();
            if let Some(store) = store {
                return store;
            }
            if current.changed().await.is_err() {
                // The sender is ours.
                std::future::pending::<()>().await;
            }
        }
    }

    fn judge<T>(broken: &watch::Sender<u64>, answer: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &answer
            && matches!(error.cause, Cause::ClusterChanged { .. } | Cause::NoHeader)
        {
            broken.send_modify(|count| *count += 1);
        }
        answer
    }
}

impl Backend for Gate {
    fn range(&self, range: Range) -> Pending<'_, RangeResult> {
        Box::pin(async move { Self::judge(&self.broken, self.store().await.range(range).await) })
    }

    fn put(&self, key: Bytes, value: Bytes, lease: Option<LeaseId>) -> Pending<'_, Header> {
        Box::pin(async move { Self::judge(&self.broken, self.store().await.put(key, value, lease).await) })
    }

    fn delete(&self, key: Bytes) -> Pending<'_, (Header, i64)> {
        Box::pin(async move { Self::judge(&self.broken, self.store().await.delete(key).await) })
    }

    fn txn(&self, txn: Txn) -> Pending<'_, TxnResult> {
        Box::pin(async move { Self::judge(&self.broken, self.store().await.txn(txn).await) })
    }

    fn watch(&self, range: Range, from: Revision) -> Pending<'_, Box<dyn WatchStream>> {
        Box::pin(async move {
            let store = self.store().await;
            let mut gate = self.current.subscribe();
            let unchanged = gate.borrow_and_update().as_ref().is_some_and(|now| Arc::ptr_eq(now, &store));
            if !unchanged {
                return Err(Error::new(Operation::Watch, &range.key, Cause::WatchEnded("gate closed".to_owned())));
            }
            let key = range.key.clone();
            let inner = Self::judge(&self.broken, store.watch(range, from).await)?;
            Ok(Box::new(GateWatch { inner, gate, broken: self.broken.clone(), key }) as Box<dyn WatchStream>)
        })
    }

    fn lease_grant(&self, ttl: Duration) -> Pending<'_, LeaseGrant> {
        Box::pin(async move { self.store().await.lease_grant(ttl).await })
    }

    fn lease_keep_alive(&self, lease: LeaseId) -> Pending<'_, Duration> {
        Box::pin(async move { self.store().await.lease_keep_alive(lease).await })
    }

    fn lease_time_left(&self, lease: LeaseId) -> Pending<'_, Duration> {
        Box::pin(async move { self.store().await.lease_time_left(lease).await })
    }

    fn lease_revoke(&self, lease: LeaseId) -> Pending<'_, Header> {
        Box::pin(async move { self.store().await.lease_revoke(lease).await })
    }

    fn compact(&self, revision: Revision) -> Pending<'_, ()> {
        Box::pin(async move { self.store().await.compact(revision).await })
    }

    fn status(&self) -> Pending<'_, ServerStatus> {
        Box::pin(async move { self.store().await.status().await })
    }
}

impl WatchStream for GateWatch {
    fn next(&mut self) -> Pending<'_, WatchBatch> {
        Box::pin(async move {
            tokio::select! {
                // A closed gate lets nothing through, also what was ready before it closed.
                biased;
                _ = self.gate.changed() => {
                    Err(Error::new(Operation::Watch, &self.key, Cause::WatchEnded("gate closed".to_owned())))
                }
                answer = self.inner.next() => Gate::judge(&self.broken, answer),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use kvstore::{Event, fake::Fake, follow};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_follower_waits_at_a_closed_gate_and_goes_on_behind_an_open_one() {
        let fake = Fake::new();
        let store: Arc<dyn Backend> = Arc::new(fake.clone());
        store.put("p/a".into(), "1".into(), None).await.unwrap();
        let gate = Gate::new(watch::Sender::new(0));
        let (mut follower, driver) = follow(Arc::new(gate.clone()), "p/");
        let story = async {
            let hour = Duration::from_secs(3600);
            assert!(tokio::time::timeout(hour, follower.next()).await.is_err());
            gate.open(store.clone());
            let events = follower.next().await.unwrap();
            assert_eq!(events.last(), Some(&Event::ListDone));
            gate.close();
            store.delete("p/a".into()).await.unwrap();
            store.put("p/b".into(), "1".into(), None).await.unwrap();
            assert!(tokio::time::timeout(hour, follower.next()).await.is_err());
            gate.open(store.clone());
            let mut events = follower.next().await.unwrap();
            events.extend(if events.len() < 2 { follower.next().await.unwrap() } else { Vec::new() });
            assert!(matches!(events[..], [Event::Deleted { .. }, Event::Created(_)]), "{events:?}");
        };
        tokio::select! {
            () = driver => panic!("the driver ended"),
            () = story => {}
        }
    }
}
