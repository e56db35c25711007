//! How long a change takes from the store's event to the kernel's map.
//!
//! An import marks what of a row shows in the kernel before it writes the row; whoever sees the kernel take that mark
//! ends the measurement. What never gets there (a claim that another one outranks, an identity that no rule selects) is
//! forgotten after a while. Not measured: first lists, and rows that did not change.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use model::{ClusterName, L3n4Addr, NumericIdentity, Prefix};
use parking_lot::Mutex;
use prometheus::{HistogramOpts, HistogramVec, Registry};

/// Longer than this nothing takes that still arrives.
const FORGET: Duration = Duration::from_secs(30);

/// Marks at one time: a burst larger than this is measured in part.
const MARKS: usize = 65_536;

/// What of a row shows in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// An ipcache row.
    Prefix(Prefix),
    /// A policy row with this peer.
    Identity(NumericIdentity),
    /// A backend.
    Backend(L3n4Addr),
}

/// Measures. Clones share.
#[derive(Clone)]
pub struct Propagation(Arc<Inner>);

struct Inner {
    open: Mutex<HashMap<Mark, Open>>,
    /// How many are open, so that the kernel's side asks for the lock only when there is something to end.
    count: AtomicUsize,
    seconds: HistogramVec,
}

struct Open {
    since: Instant,
    resource: &'static str,
    cluster: ClusterName,
}

// === impl Propagation ===

impl Propagation {
    /// Registers `causeway_propagation_seconds{resource,source_cluster}`.
    pub fn new(registry: &Registry) -> Self {
        let propagation = Self::unregistered();
        runtime::metrics::register(registry, propagation.0.seconds.clone());
        propagation
    }

    /// Measures for nobody: for tests.
    pub fn unregistered() -> Self {
        let help = "Seconds from a store's event until the kernel's map holds it";
        let buckets = vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let options = HistogramOpts::new("causeway_propagation_seconds", help).buckets(buckets);
        let seconds = HistogramVec::new(options, &["resource", "source_cluster"])
            .expect("the name and the labels are constants that parse");
        Self(Arc::new(Inner { open: Mutex::default(), count: AtomicUsize::new(0), seconds }))
    }

    /// A change with this mark was received.
    pub fn received(&self, now: Instant, resource: &'static str, cluster: &ClusterName, mark: Mark) {
        let mut open = self.0.open.lock();
        if open.len() >= MARKS {
            open.retain(|_, open| now.saturating_duration_since(open.since) < FORGET);
        }
        if open.len() < MARKS {
            // A second change of the same thing: the first was never realised, so the wait began with it.
            open.entry(mark).or_insert_with(|| Open { since: now, resource, cluster: cluster.clone() });
        }
        self.0.count.store(open.len(), Ordering::Relaxed);
    }

    /// Whether anything is waited for.
    pub fn is_idle(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) == 0
    }

    /// The kernel holds what this mark stands for.
    pub fn realized(&self, now: Instant, mark: Mark) {
        let mut all = self.0.open.lock();
        let Some(open) = all.remove(&mark) else { return };
        self.0.count.store(all.len(), Ordering::Relaxed);
        drop(all);
        let took = now.saturating_duration_since(open.since);
        if took < FORGET {
            self.0.seconds.with_label_values(&[open.resource, open.cluster.as_str()]).observe(took.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_measured_once_and_what_never_arrives_is_forgotten() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let propagation = Propagation::unregistered();
        let cluster: ClusterName = "west".parse().unwrap();
        let mark = Mark::Prefix("10.1.0.1/32".parse().unwrap());
        let seen = || propagation.0.seconds.with_label_values(&["ip", "west"]).get_sample_count();
        propagation.realized(at(0), mark);
        assert!(propagation.is_idle() && seen() == 0);
        propagation.received(at(0), "ip", &cluster, mark);
        propagation.received(at(5), "ip", &cluster, mark);
        assert!(!propagation.is_idle());
        propagation.realized(at(20), mark);
        propagation.realized(at(30), mark);
        assert!(propagation.is_idle());
        assert_eq!(seen(), 1);
        let sum = propagation.0.seconds.with_label_values(&["ip", "west"]).get_sample_sum();
        assert!((sum - 0.02).abs() < 1e-9, "{sum}");
        propagation.received(at(0), "ip", &cluster, mark);
        propagation.realized(at(31_000), mark);
        assert_eq!(seen(), 1);
    }
}
