//! Who connects, who is turned away and why, and how certificates stand.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use runtime::metrics::register;

use crate::edge::{ENDS, HANDSHAKE_FAILURES};

/// Clones count together.
#[derive(Clone)]
pub(crate) struct Connections {
    open: IntGauge,
    greeting: IntGauge,
    ended: IntCounterVec,
    handshakes: IntCounter,
    failed: IntCounterVec,
    reloads: IntCounterVec,
    refused_files: IntGauge,
    expires: IntGauge,
    received_bytes: IntCounter,
    sent_bytes: IntCounter,
}

fn counters(registry: &Registry, name: &str, help: &str, values: &[&str]) -> IntCounterVec {
    let counters = IntCounterVec::new(Opts::new(name, help), &["reason"]).expect("the names below are valid");
    for value in values {
        // A series that is 0 can be watched for its first step.
        counters.with_label_values(&[value]);
    }
    register(registry, counters)
}

// === impl Connections ===

impl Connections {
    pub(crate) fn new(registry: &Registry) -> Self {
        let gauge = |name, help| register(registry, IntGauge::new(name, help).expect("the names below are valid"));
        let counters = |name, help, values: &[&str]| counters(registry, name, help, values);
        let bytes = |name, help| register(registry, IntCounter::new(name, help).expect("the names below are valid"));
        let done = IntCounter::new("causeway_store_tls_handshakes_total", "TLS handshakes that were completed.");
        Self {
            open: gauge("causeway_store_connections", "Connections of clients."),
            greeting: gauge("causeway_store_connections_greeting", "Of them, what has not said yet what it speaks."),
            ended: counters("causeway_store_connections_closed_total", "Connections that we closed, by reason.", &ENDS),
            handshakes: register(registry, done.expect("the name is valid")),
            failed: counters(
                "causeway_store_tls_handshake_failures_total",
                "TLS handshakes that failed, by reason.",
                &HANDSHAKE_FAILURES,
            ),
            reloads: counters(
                "causeway_store_tls_reloads_total",
                "Changes of certificate files: used, or refused so that the old ones stay.",
                &["used", "refused"],
            ),
            refused_files: gauge(
                "causeway_store_tls_files_refused",
                "1 while certificate files lie there that cannot be used, and older ones are in use.",
            ),
            expires: gauge(
                "causeway_store_tls_certificate_expires_timestamp_seconds",
                "When the certificate in use expires; 0 without TLS.",
            ),
            received_bytes: bytes(
                "etcd_network_client_grpc_received_bytes_total",
                "The total number of bytes received from clients.",
            ),
            sent_bytes: bytes(
                "etcd_network_client_grpc_sent_bytes_total",
                "The total number of bytes sent to clients.",
            ),
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn opened(&self) {
        self.open.inc();
        self.greeting.inc();
    }

    pub(crate) fn greeted(&self) {
        self.greeting.dec();
    }

    pub(crate) fn gone(&self, greeted: bool) {
        self.open.dec();
        if !greeted {
            self.greeting.dec();
        }
    }

    /// One of [`ENDS`].
    pub(crate) fn closed(&self, reason: &'static str) {
        self.ended.with_label_values(&[reason]).inc();
    }

    pub(crate) fn handshake(&self) {
        self.handshakes.inc();
    }

    /// One of [`HANDSHAKE_FAILURES`].
    pub(crate) fn handshake_failed(&self, reason: &'static str) {
        self.failed.with_label_values(&[reason]).inc();
    }

    pub(crate) fn reloaded(&self, used: bool) {
        self.reloads.with_label_values(&[if used { "used" } else { "refused" }]).inc();
        self.refused_files.set(i64::from(!used));
    }

    pub(crate) fn certificate_expires(&self, at_secs: i64) {
        self.expires.set(at_secs);
    }
}
