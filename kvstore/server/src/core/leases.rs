//! Leases: who holds which keys, and when each ends.
//!
//! What is granted, attached and revoked comes from the log. When a lease ends is this member's to know, on a clock that
//! never runs ahead of the time in which a client could have kept it alive: a lease's time is a minimum. After a restart
//! every lease has its whole time again.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::{Duration, Instant},
};

use super::store::{Change, KeyId};

/// Shorter leases last this long: an election must fit in, as etcd computes it from its default times.
pub(crate) const MIN_TTL_SECS: i64 = 2;
/// etcd's bound.
pub(crate) const MAX_TTL_SECS: i64 = 9_000_000_000;
/// Keys that one entry of the log lets go of, unless one lease alone has more: bounds how long an apply takes.
const KEYS_AN_EXPIRY: usize = 1_000;
const LEASES_AN_EXPIRY: usize = 100;
/// Far enough that nobody waits for it, near enough that it can be added to a time.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Accounted bytes of one: a row and a due time, in nodes and a heap that may be half full, and a node for its keys.
const COST: usize = 2 * (size_of::<(i64, Lease)>() + size_of::<Reverse<(Instant, i64)>>()) + 64;

#[derive(Debug)]
struct Lease {
    ttl_secs: i64,
    ends: Instant,
    keys: BTreeSet<KeyId>,
    /// An expiry of it is on its way through the log.
    ending: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Leases {
    rows: BTreeMap<i64, Lease>,
    /// When to look at a lease next: at its end, or earlier.
    due: BinaryHeap<Reverse<(Instant, i64)>>,
}

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) granted_secs: i64,
    pub(crate) left_secs: i64,
}

// === impl Leases ===

impl Leases {
    pub(crate) fn grant(&mut self, now: Instant, id: i64, ttl_secs: i64) {
        let ends = now + lasts(ttl_secs);
        self.rows.insert(id, Lease { ttl_secs, ends, keys: BTreeSet::new(), ending: false });
        self.due.push(Reverse((ends, id)));
    }

    pub(crate) fn has(&self, id: i64) -> bool {
        self.rows.contains_key(&id)
    }

    /// The time it has again, or `None` if there is no such lease any more.
    pub(crate) fn keep_alive(&mut self, now: Instant, id: i64) -> Option<i64> {
        let lease = self.rows.get_mut(&id).filter(|lease| !lease.ending)?;
        lease.ends = now + lasts(lease.ttl_secs);
        Some(lease.ttl_secs)
    }

    pub(crate) fn standing(&self, now: Instant, id: i64) -> Option<Standing> {
        let lease = self.rows.get(&id)?;
        let left_secs = lease.ends.saturating_duration_since(now).as_secs() as i64;
        Some(Standing { granted_secs: lease.ttl_secs, left_secs })
    }

    /// Their ids, the one that ends first before the others.
    pub(crate) fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<(Instant, i64)> = self.rows.iter().map(|(id, lease)| (lease.ends, *id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.rows.len()
    }

    /// Ids and granted times.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.rows.iter().map(|(id, lease)| (*id, lease.ttl_secs))
    }

    /// Accounted bytes.
    pub(crate) fn size(&self) -> u64 {
        (self.rows.len() * COST) as u64
    }

    pub(crate) fn keys(&self, id: i64) -> impl Iterator<Item = KeyId> + '_ {
        self.rows.get(&id).into_iter().flat_map(|lease| lease.keys.iter().copied())
    }

    /// Takes the lease away; its keys are the caller's to delete.
    pub(crate) fn revoke(&mut self, id: i64) -> Option<BTreeSet<KeyId>> {
        self.rows.remove(&id).map(|lease| lease.keys)
    }

    pub(crate) fn note(&mut self, change: &Change) {
        if change.lease_before == change.lease_after {
            return;
        }
        if let Some(lease) = self.rows.get_mut(&change.lease_before) {
            lease.keys.remove(&change.key);
        }
        self.attach(change.lease_after, change.key);
    }

    pub(crate) fn attach(&mut self, id: i64, key: KeyId) {
        if let Some(lease) = self.rows.get_mut(&id) {
            lease.keys.insert(key);
        }
    }

    /// Leases whose time is over, a bounded number. They are not named again until [`retry`](Self::retry).
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<i64> {
        let (mut over, mut keys) = (Vec::new(), 0);
        while let Some(Reverse((at, id))) = self.due.peek().copied() {
            if at > now || over.len() == LEASES_AN_EXPIRY {
                break;
            }
            if let Some(lease) = self.rows.get_mut(&id) {
                if lease.ends > now {
                    self.due.pop();
                    self.due.push(Reverse((lease.ends, id)));
                    continue;
                }
                if !over.is_empty() && keys + lease.keys.len() > KEYS_AN_EXPIRY {
                    break;
                }
                if !lease.ending {
                    keys += lease.keys.len();
                    lease.ending = true;
                    over.push(id);
                }
            }
            self.due.pop();
        }
        over
    }

    /// The expiry of these did not come through: they may be named, and kept alive, again.
    pub(crate) fn retry(&mut self, now: Instant, ids: &[i64]) {
        for id in ids {
            if let Some(lease) = self.rows.get_mut(id) {
                lease.ending = false;
                self.due.push(Reverse((now, *id)));
            }
        }
    }
}

fn lasts(ttl_secs: i64) -> Duration {
    Duration::from_secs(ttl_secs.max(0) as u64).min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_lease_that_is_kept_alive_does_not_end() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        leases.grant(start, 1, 5);
        leases.grant(start, 2, 5);
        assert_eq!(leases.keep_alive(start + 4 * SECOND, 1), Some(5));
        assert_eq!(leases.expired(start + 5 * SECOND), [2]);
        assert_eq!(leases.keep_alive(start + 5 * SECOND, 2), None, "its end is on its way");
        assert_eq!(leases.expired(start + 8 * SECOND), [0; 0]);
        assert_eq!(leases.expired(start + 9 * SECOND), [1]);
    }

    #[test]
    fn many_ends_come_in_bounded_parts_and_are_complete() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        (1..=1_000).for_each(|id| leases.grant(start, id, 2));
        let mut seen = Vec::new();
        while seen.len() < 1_000 {
            let part = leases.expired(start + 2 * SECOND);
            assert!(!part.is_empty() && part.len() <= LEASES_AN_EXPIRY);
            seen.extend(part);
        }
        seen.sort_unstable();
        assert_eq!(seen, (1..=1_000).collect::<Vec<_>>());
    }

    #[test]
    fn an_expiry_that_failed_is_tried_again() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        leases.grant(start, 7, 2);
        assert_eq!(leases.expired(start + 3 * SECOND), [7]);
        assert_eq!(leases.expired(start + 3 * SECOND), [0; 0]);
        leases.retry(start + 3 * SECOND, &[7]);
        assert_eq!(leases.expired(start + 3 * SECOND), [7]);
    }

    #[test]
    fn the_longest_lease_does_not_overflow_the_clock() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        leases.grant(start, 1, MAX_TTL_SECS);
        assert_eq!(leases.expired(start + SECOND), [0; 0]);
    }
}
