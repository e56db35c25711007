//! Packet counters for Prometheus, read from the pinned map when asked.

use crate::{dump, kernel::Pinned};
use parking_lot::Mutex;
use prometheus::{
    IntCounterVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use std::path::Path;

/// `cilium_drop_count_total`, `cilium_drop_bytes_total` by reason and direction,
/// `cilium_forward_count_total`, `cilium_forward_bytes_total`, `cilium_monitor_events_lost_total` by direction.
pub struct PacketMetrics {
    kernel: Mutex<Pinned>,
    descriptions: Vec<Desc>,
}

/// What a family is called and labelled.
const FAMILIES: [(&str, &str, &[&str]); 5] = [
    ("cilium_drop_count_total", "Dropped packets.", &["reason", "direction"]),
    ("cilium_drop_bytes_total", "Dropped bytes.", &["reason", "direction"]),
    ("cilium_forward_count_total", "Forwarded packets.", &["direction"]),
    ("cilium_forward_bytes_total", "Forwarded bytes.", &["direction"]),
    ("cilium_monitor_events_lost_total", "Packet events that found the ring full.", &["direction"]),
];

impl PacketMetrics {
    /// Counters of the maps pinned below `bpf_root`.
    ///
    /// # Errors
    /// Never with these names; the signature is prometheus'.
    pub fn new(bpf_root: &Path) -> prometheus::Result<Self> {
        let mut descriptions = Vec::new();
        for family in families()? {
            descriptions.extend(family.desc().into_iter().cloned());
        }
        Ok(Self { kernel: Mutex::new(Pinned::new(bpf_root)), descriptions })
    }

    fn read(&self) -> prometheus::Result<Vec<MetricFamily>> {
        let families = families()?;
        let [drops, drop_bytes, forwards, forward_bytes, lost] = &families;
        // Maps that are gone have no counters; the agent's health says so elsewhere.
        for row in dump::metrics(&mut self.kernel.lock()).unwrap_or_default() {
            let direction = match row.direction {
                1 => "INGRESS",
                2 => "EGRESS",
                _ => "SERVICE",
            };
            if row.code == ebpf_abi::EVENT_LOST {
                lost.get_metric_with_label_values(&[direction])?.inc_by(row.packets);
            } else if row.code == ebpf_abi::FORWARDED {
                forwards.get_metric_with_label_values(&[direction])?.inc_by(row.packets);
                forward_bytes.get_metric_with_label_values(&[direction])?.inc_by(row.bytes);
            } else {
                drops.get_metric_with_label_values(&[row.reason, direction])?.inc_by(row.packets);
                drop_bytes.get_metric_with_label_values(&[row.reason, direction])?.inc_by(row.bytes);
            }
        }
        // The text format knows no family without a metric.
        Ok(families.iter().flat_map(Collector::collect).filter(|family| !family.get_metric().is_empty()).collect())
    }
}

impl Collector for PacketMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read().unwrap_or_default()
    }
}

fn families() -> prometheus::Result<[IntCounterVec; 5]> {
    let family = |(name, help, labels): (&str, &str, &[&str])| IntCounterVec::new(Opts::new(name, help), labels);
    let [a, b, c, d, e] = FAMILIES;
    Ok([family(a)?, family(b)?, family(c)?, family(d)?, family(e)?])
}
