//! How many backends a cluster has, to bound their sum.

use std::collections::BTreeMap;

use model::ServiceName;

/// What has backends: a service, or one of its slices.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Share {
    Service(ServiceName),
    Slice(ServiceName),
}

#[derive(Default)]
pub(super) struct Backends {
    counts: BTreeMap<Share, usize>,
    total: usize,
}

// === impl Backends ===

impl Backends {
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Sets a count, unless the sum would be too large.
    pub(super) fn take(&mut self, share: &Share, count: usize, limit: usize) -> bool {
        let had = self.counts.get(share).copied().unwrap_or_default();
        let total = self.total - had + count;
        if total > limit {
            return false;
        }
        self.total = total;
        self.counts.insert(share.clone(), count);
        true
    }

    pub(super) fn forget(&mut self, gone: impl Fn(&Share) -> bool) {
        self.counts.retain(|share, _| !gone(share));
        self.total = self.counts.values().sum();
    }
}
