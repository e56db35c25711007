//! Locks of allocations whose holder is stuck: alive enough to renew its lease, and never done.
//!
//! A lock is given up on when two rounds found it, unchanged, as the oldest of its path: those who wait behind it are no
//! one's fault. Allocators of Causeway hold none; those of other writers hold theirs for milliseconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kvstore::{Backend, Compare, KeyValue, LOCK_LEASE_TTL, LeaseId, Op, Txn, list};

/// Which lock stood first when we last looked, by path.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    oldest: BTreeMap<Bytes, Lock>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    key: Bytes,
    mod_revision: i64,
    lease: Option<LeaseId>,
}

// === impl Sweeper ===

impl Sweeper {
    /// All locks that there are; what comes back is stuck.
    pub(crate) fn handle_round(&mut self, locks: &[KeyValue]) -> Vec<Lock> {
        let mut oldest: BTreeMap<Bytes, Lock> = BTreeMap::new();
        for kv in locks {
            let Some(end) = kv.key.iter().rposition(|byte| *byte == b'/') else { continue };
            let lock = Lock { key: kv.key.clone(), mod_revision: kv.mod_revision, lease: kv.lease };
            let first = oldest.entry(kv.key.slice(..end)).or_insert_with(|| lock.clone());
            if lock.mod_revision < first.mod_revision {
                *first = lock;
            }
        }
        let stuck = oldest.iter().filter(|(path, lock)| self.oldest.get(*path) == Some(lock));
        let stuck = stuck.map(|(_, lock)| lock.clone()).collect();
        self.oldest = oldest;
        stuck
    }
}

/// Looks once in the life of a lock's lease, until the future is dropped.
pub(crate) async fn run(store: Arc<dyn Backend>) {
    sweep(store, LOCK_LEASE_TTL).await;
}

async fn sweep(store: Arc<dyn Backend>, every: Duration) {
    let mut sweeper = Sweeper::default();
    loop {
        match list(&*store, wire::identity::locks_prefix(), 0).await {
            Ok(listed) => {
                for lock in sweeper.handle_round(&listed.kvs) {
                    let key = String::from_utf8_lossy(&lock.key).into_owned();
                    let lease = lock.lease.map(|lease| lease.to_string()).unwrap_or_default();
                    let same = Compare::ModRevision(lock.key.clone(), lock.mod_revision);
                    match store.txn(Txn::when([same]).then([Op::delete(lock.key)])).await {
                        Ok(_) => tracing::warn!(
                            key,
                            lease,
                            "a lock was never given back: removed; how is the client with that lease?"
                        ),
                        Err(error) => tracing::warn!(key, lease, error = error.full(), "a stuck lock stays"),
                    }
                }
            }
            Err(error) => tracing::warn!(error = error.full(), "locks are not known: none is removed"),
        }
        runtime::sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(key: &str, mod_revision: i64) -> KeyValue {
        KeyValue {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::new(),
            create_revision: mod_revision,
            mod_revision,
            version: 1,
            lease: Some(LeaseId(7)),
        }
    }

    fn keys(stuck: &[Lock]) -> Vec<&[u8]> {
        stuck.iter().map(|lock| &lock.key[..]).collect()
    }

    #[test]
    fn only_the_oldest_of_a_path_that_stood_through_a_round_is_stuck() {
        let mut sweeper = Sweeper::default();
        let all = [lock("l/k8s:a=/b;/1f", 5), lock("l/k8s:a=/b;/2a", 6), lock("l/id/70000/3", 7)];
        assert!(sweeper.handle_round(&all).is_empty());
        let again = [all[0].clone(), all[1].clone(), lock("l/id/70000/3", 9)];
        assert_eq!(keys(&sweeper.handle_round(&again)), [b"l/k8s:a=/b;/1f"], "the number's lock was taken anew");
        // Who waited behind it has only begun.
        assert_eq!(keys(&sweeper.handle_round(&again[1..])), [b"l/id/70000/3"]);
        assert_eq!(keys(&sweeper.handle_round(&again[1..2])), [b"l/k8s:a=/b;/2a"]);
    }
}
