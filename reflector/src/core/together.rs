//! Which deletes of a batch happened at one revision.

use std::collections::BTreeMap;

use kvstore::{Event, Revision};

/// Deletes by revision; a list is no witness, because it tells everything that is absent at its own revision.
#[derive(Debug, Default)]
pub(super) struct Together(BTreeMap<Revision, usize>);

// === impl Together ===

impl Together {
    pub(super) fn of(events: &[Event]) -> Self {
        let mut counts = BTreeMap::new();
        if !events.iter().any(|event| matches!(event, Event::Relisted { .. } | Event::ListDone)) {
            for event in events {
                if let Event::Deleted { revision, .. } = event {
                    *counts.entry(*revision).or_default() += 1;
                }
            }
        }
        Self(counts)
    }

    /// Whether several keys went at this revision: etcd ends a lease and deletes its keys in one.
    pub(super) fn is_lease_end(&self, revision: Revision) -> bool {
        self.0.get(&revision).is_some_and(|count| *count > 1)
    }
}
