//! Readiness by handle: ready means that every handle given out has been dropped into `ready`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Whether a process has done its first full round, and what it still waits for.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Default)]
struct Inner {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<u64, &'static str>>,
}

/// One thing that must happen before the process is ready.
#[must_use = "the process never becomes ready without it"]
pub struct Ready {
    of: Readiness,
    id: u64,
}

impl Readiness {
    /// Adds a condition.
    pub fn condition(&self, what: &'static str) -> Ready {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.waiting.lock().insert(id, what);
        Ready { of: self.clone(), id }
    }

    /// What is still awaited; empty when ready.
    pub fn waiting(&self) -> Vec<&'static str> {
        self.0.waiting.lock().values().copied().collect()
    }
}

impl Ready {
    /// The condition holds.
    pub fn ready(self) {
        self.of.0.waiting.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_after_every_condition() {
        let readiness = Readiness::default();
        let (nodes, ips) = (readiness.condition("nodes"), readiness.condition("ips"));
        nodes.ready();
        assert_eq!(readiness.waiting(), ["ips"]);
        ips.ready();
        assert!(readiness.waiting().is_empty());
    }
}
