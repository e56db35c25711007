//! What imports count.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::Propagation;

/// Counters of imports by cluster and resource.
#[derive(Clone)]
pub struct Metrics {
    /// Updates that broke a rule.
    pub rejected: IntCounterVec,
    /// Rows that a mass delete has put on hold.
    pub held: IntGaugeVec,
    /// Keys in quarantine.
    pub quarantined: IntGaugeVec,
    /// How long changes take to the kernel.
    pub propagation: Propagation,
}

// === impl Metrics ===

impl Metrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Self {
        let metrics = Self { propagation: Propagation::new(registry), ..Self::unregistered() };
        runtime::metrics::register(registry, metrics.rejected.clone());
        runtime::metrics::register(registry, metrics.held.clone());
        runtime::metrics::register(registry, metrics.quarantined.clone());
        metrics
    }

    /// Counts for nobody: for tests.
    pub fn unregistered() -> Self {
        let labels = &["cluster", "resource"];
        let gauge = |name: &str, help: &str| {
            IntGaugeVec::new(Opts::new(name, help), labels).expect("the name and the labels are constants that parse")
        };
        let rejected = Opts::new("cilium_kvstore_rejected_updates_total", "Updates of a store that broke a rule");
        Self {
            rejected: IntCounterVec::new(rejected, labels).expect("the name and the labels are constants that parse"),
            held: gauge("cilium_kvstore_held_rows", "Rows that a mass delete has put on hold"),
            quarantined: gauge("cilium_kvstore_quarantined_keys", "Keys of a store that are not used"),
            propagation: Propagation::unregistered(),
        }
    }
}
