//! Requests to a store, counted under Cilium's names.

use std::sync::Arc;

use kvstore::{Client, Observed, Operation};
use prometheus::{HistogramOpts, HistogramVec, Registry};

/// `<namespace>_kvstore_operations_duration_seconds{scope,kind,action,outcome}` of every request of this client.
pub fn observe_store(client: &Client, namespace: &str, registry: &Registry) {
    let name = format!("{namespace}_kvstore_operations_duration_seconds");
    let options = HistogramOpts::new(name, "Seconds of a request to the store, waiting for the rate limit included")
        .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
    let seconds = HistogramVec::new(options, &["scope", "kind", "action", "outcome"])
        .expect("the labels are constants that parse, and namespaces are identifiers");
    let seconds = runtime::metrics::register(registry, seconds);
    client.observe(Arc::new(move |observed: Observed<'_>| {
        let (kind, action) = kind(observed.operation);
        let outcome = if observed.succeeded { "success" } else { "fail" };
        let labels = [scope(observed.key), kind, action, outcome];
        seconds.with_label_values(&labels).observe(observed.took.as_secs_f64());
    }));
}

/// What a key is about; a bounded set, because keys come from elsewhere.
fn scope(key: &[u8]) -> &'static str {
    const SCOPES: [(&str, &str); 9] = [
        ("cilium/state/nodes/v1", "nodes/v1"),
        ("cilium/state/ip/v1", "ip/v1"),
        ("cilium/state/identities/v1", "identities/v1"),
        ("cilium/state/services/v1", "services/v1"),
        ("cilium/cache/", "cache"),
        ("cilium/cluster-config", "cluster-config"),
        ("cilium/synced", "synced"),
        ("cilium/.heartbeat", "heartbeat"),
        ("causeway/v1/", "own"),
    ];
    SCOPES.iter().find(|(prefix, _)| key.starts_with(prefix.as_bytes())).map_or("other", |(_, scope)| scope)
}

/// Cilium's kind and action of an operation.
fn kind(operation: Operation) -> (&'static str, &'static str) {
    match operation {
        Operation::Range => ("read", "get"),
        Operation::Put => ("set", "update"),
        Operation::Delete => ("delete", "delete"),
        Operation::Txn => ("set", "transaction"),
        Operation::Watch => ("read", "watch"),
        Operation::LeaseGrant => ("lease", "grant"),
        Operation::LeaseKeepAlive => ("lease", "keepalive"),
        Operation::LeaseTimeLeft => ("lease", "timetolive"),
        Operation::LeaseRevoke => ("lease", "revoke"),
        Operation::Compact => ("maintenance", "compact"),
        Operation::Status => ("maintenance", "status"),
    }
}

#[cfg(test)]
mod tests {
    use kvstore::{Backend, ClientOptions, fake::Fake};

    use super::*;

    #[tokio::test]
    async fn requests_are_counted_by_scope_kind_and_outcome() {
        let registry = Registry::new();
        let client = Client::new(Arc::new(Fake::new()), ClientOptions::default());
        observe_store(&client, "cilium", &registry);
        client.put("cilium/state/ip/v1/default/10.0.0.1".into(), "x".into(), None).await.unwrap();
        client.put("somewhere/else".into(), "x".into(), None).await.unwrap();
        let text = runtime::metrics::text(&registry).unwrap();
        for scope in ["ip/v1", "other"] {
            let line = format!(
                "cilium_kvstore_operations_duration_seconds_count{{action=\"update\",kind=\"set\",outcome=\"success\",scope=\"{scope}\"}} 1"
            );
            assert!(text.contains(&line), "{text}");
        }
    }
}
