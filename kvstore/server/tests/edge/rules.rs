//! etcd's own alert rules and dashboard find every series that they ask for.

use crate::server::{SOON, Store};

/// Series of etcd's contrib/mixin of 3.6: `alerts/*.libsonnet` and `dashboards/*.libsonnet`, all names in them.
const SERIES: [&str; 21] = [
    "etcd_disk_backend_commit_duration_seconds_bucket",
    "etcd_disk_wal_fsync_duration_seconds_bucket",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_network_peer_received_bytes_total",
    "etcd_network_peer_round_trip_time_seconds_bucket",
    "etcd_network_peer_sent_bytes_total",
    "etcd_network_peer_sent_failures_total",
    "etcd_server_has_leader",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_failed_total",
    "etcd_server_proposals_pending",
    "etcd_server_quota_backend_bytes",
    "grpc_server_handled_total",
    "grpc_server_handling_seconds_bucket",
    "grpc_server_started_total",
    "process_resident_memory_bytes",
];

/// One member has no peers, and an etcd of one member has no such series either: they have a label for the peer.
const OF_PEERS: &str = "etcd_network_peer_";

/// What rules and panels select by.
const SELECTED: [&str; 5] = [
    r#"grpc_server_started_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"}"#,
    r#"grpc_server_started_total{grpc_method="LeaseKeepAlive",grpc_service="etcdserverpb.Lease",grpc_type="bidi_stream"}"#,
    r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"}"#,
    r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#,
    r#"grpc_server_started_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#,
];

#[tokio::test(flavor = "multi_thread")]
async fn no_series_of_etcds_rules_is_missing() {
    let store = Store::plain();
    let page = store.page("/metrics").await;
    for name in SERIES.iter().filter(|name| !name.starts_with(OF_PEERS)) {
        let there = page.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        assert!(there, "{name} is missing");
    }
    for series in SELECTED {
        assert!(page.lines().any(|line| line.starts_with(series)), "{series} is missing");
    }
}

/// The series are of what happens.
#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_as_they_begin_and_as_they_end() {
    let store = Store::plain();
    let [watches, _, ended, puts, _] = SELECTED;
    let mut client = store.client().await;
    client.put("k", "v", None).await.unwrap();
    assert_eq!(store.metric_reaches(puts, 1).await, 1);
    let watching = client.watch("k", None).await.unwrap();
    assert_eq!((store.metric(watches).await, store.metric(ended).await), (1, 0));
    drop(watching);
    assert_eq!(store.metric_reaches(ended, 1).await, 1);
    client.compact(1_000, None).await.unwrap_err();
    let refused = r#"grpc_server_handled_total{grpc_code="OutOfRange",grpc_method="Compact",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#;
    assert_eq!(store.metric_reaches(refused, 1).await, 1);
    // Who does not wait for its answer is counted, too.
    let mut other = client.clone();
    let mut holder = client.clone();
    holder.lock("l", None).await.unwrap();
    let waiting = tokio::spawn(async move { other.lock("l", None).await.map(drop) });
    let locks = r#"grpc_server_started_total{grpc_method="Lock",grpc_service="v3lockpb.Lock",grpc_type="unary"}"#;
    store.metric_reaches(locks, 2).await;
    waiting.abort();
    let left = r#"grpc_server_handled_total{grpc_code="Canceled",grpc_method="Lock",grpc_service="v3lockpb.Lock",grpc_type="unary"}"#;
    let counted = async {
        while !store.page("/metrics").await.contains(left) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, counted).await.expect("it is counted");
    assert!(store.metric("etcd_network_client_grpc_received_bytes_total").await > 100);
    assert!(store.metric("etcd_network_client_grpc_sent_bytes_total").await > 100);
    assert!(store.metric_reaches("process_resident_memory_bytes", 1 << 20).await > 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_paths_say_what_to_do_instead() {
    let store = Store::plain();
    for path in ["/v3/kv/range", "/v3beta/lease/grant"] {
        let page = store.page(path).await;
        assert!(page.starts_with("HTTP/1.1 404") && page.contains("no JSON gateway: ask by gRPC"), "{page}");
    }
    assert!(store.page("/version").await.contains(r#""etcdserver":"3.6.16""#));
}
