//! Which key is on which lease, and when each lease must be renewed.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::LeaseId;

/// etcd revokes a lease in one transaction; Cilium's bound keeps that small.
pub(crate) const MAX_KEYS: usize = 1000;

#[derive(Debug)]
pub(crate) struct LeasePool {
    leases: HashMap<LeaseId, Lease>,
    of_key: HashMap<Bytes, LeaseId>,
    max_keys: usize,
}

#[derive(Debug)]
struct Lease {
    keys: HashSet<Bytes>,
    ttl: Duration,
    renew_at: Instant,
    expires_at: Instant,
    /// Order of the grants: new keys go to the youngest lease with room.
    number: u64,
}

// === impl LeasePool ===

impl LeasePool {
    pub(crate) fn new(max_keys: usize) -> Self {
        Self { leases: HashMap::new(), of_key: HashMap::new(), max_keys }
    }

    /// The lease for this key: the one it has, else one with room. `None`: grant another one.
    pub(crate) fn assign(&mut self, key: &Bytes) -> Option<LeaseId> {
        if let Some(lease) = self.of_key.get(key) {
            return Some(*lease);
        }
        let room = self.leases.iter_mut().filter(|(_, lease)| lease.keys.len() < self.max_keys);
        let (id, lease) = room.max_by_key(|(_, lease)| lease.number)?;
        lease.keys.insert(key.clone());
        self.of_key.insert(key.clone(), *id);
        Some(*id)
    }

    pub(crate) fn handle_granted(&mut self, now: Instant, id: LeaseId, ttl: Duration) {
        let number = self.leases.values().map(|l| l.number + 1).max().unwrap_or(0);
        let lease = Lease { keys: HashSet::new(), ttl, renew_at: now + ttl / 3, expires_at: now + ttl, number };
        self.leases.insert(id, lease);
    }

    /// The key was deleted: its place is free.
    pub(crate) fn release(&mut self, key: &Bytes) {
        if let Some(id) = self.of_key.remove(key)
            && let Some(lease) = self.leases.get_mut(&id)
        {
            lease.keys.remove(key);
        }
    }

    pub(crate) fn handle_renewed(&mut self, now: Instant, id: LeaseId, ttl: Duration) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.ttl = ttl;
            lease.renew_at = now + ttl / 3;
            lease.expires_at = now + ttl;
        }
    }

    /// No answer: try again soon. The keys, if the lease has run out by our clock meanwhile.
    pub(crate) fn handle_renewal_failed(&mut self, now: Instant, id: LeaseId) -> Vec<Bytes> {
        match self.leases.get_mut(&id) {
            Some(lease) if now < lease.expires_at => {
                // Twelve tries within a third of the time, but not more often than each second.
                lease.renew_at = now + (lease.ttl / 36).max(Duration::from_secs(1));
                Vec::new()
            }
            _ => self.handle_lost(id),
        }
    }

    /// The store does not know the lease: these keys are gone, or will be.
    pub(crate) fn handle_lost(&mut self, id: LeaseId) -> Vec<Bytes> {
        let Some(lease) = self.leases.remove(&id) else { return Vec::new() };
        for key in &lease.keys {
            self.of_key.remove(key);
        }
        lease.keys.into_iter().collect()
    }

    /// Leases to renew now.
    pub(crate) fn due(&self, now: Instant) -> Vec<LeaseId> {
        self.leases.iter().filter(|(_, lease)| lease.renew_at <= now).map(|(id, _)| *id).collect()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.renew_at).min()
    }

    pub(crate) fn leases(&self) -> Vec<LeaseId> {
        self.leases.keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(900);

    fn keys(names: &[&'static str]) -> Vec<Bytes> {
        names.iter().map(|n| Bytes::from_static(n.as_bytes())).collect()
    }

    #[test]
    fn a_key_keeps_its_lease_and_a_full_lease_makes_another() {
        let now = Instant::now();
        let mut pool = LeasePool::new(2);
        let k = keys(&["a", "b", "c"]);
        assert_eq!(pool.assign(&k[0]), None);
        pool.handle_granted(now, LeaseId(1), TTL);
        assert_eq!(pool.assign(&k[0]), Some(LeaseId(1)));
        assert_eq!(pool.assign(&k[1]), Some(LeaseId(1)));
        assert_eq!(pool.assign(&k[2]), None, "the lease is full");
        pool.handle_granted(now, LeaseId(2), TTL);
        assert_eq!(pool.assign(&k[2]), Some(LeaseId(2)));
        assert_eq!(pool.assign(&k[0]), Some(LeaseId(1)), "a key keeps its lease");
        pool.release(&k[0]);
        assert_eq!(pool.handle_lost(LeaseId(1)), keys(&["b"]));
        assert_eq!(pool.assign(&k[1]), Some(LeaseId(2)));
    }

    #[test]
    fn leases_are_renewed_at_a_third_and_lost_at_their_end() {
        let now = Instant::now();
        let at = |secs| now + Duration::from_secs(secs);
        let mut pool = LeasePool::new(2);
        pool.handle_granted(now, LeaseId(1), TTL);
        pool.assign(&keys(&["a"])[0]);
        assert!(pool.due(at(299)).is_empty());
        assert_eq!(pool.due(at(300)), [LeaseId(1)]);
        pool.handle_renewed(at(300), LeaseId(1), TTL);
        assert_eq!(pool.poll_timeout(), Some(at(600)));
        assert!(pool.handle_renewal_failed(at(600), LeaseId(1)).is_empty());
        assert_eq!(pool.poll_timeout(), Some(at(625)));
        assert_eq!(pool.handle_renewal_failed(at(1200), LeaseId(1)), keys(&["a"]));
        assert_eq!(pool.poll_timeout(), None);
    }
}
