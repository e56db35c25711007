//! Every entry of three stores as Cilium itself wrote them: decoded to model values, encoded again,
//! compared as bytes. The other direction, from hand-built values, is in `built.rs`.

use std::io::Read as _;

use crate::store::{Entry, entries};
use model::{ClusterName, Prefix};
use wire::{
    Source, cluster_config, endpoint_slice, heartbeat, identity, ip,
    key::{Resource, name_after},
    labels, lock, node, service, service_export, synced,
};

/// What the entry is, after all checks on it have passed.
fn check(entry: &Entry, cluster: &ClusterName, source: Source<'_>) -> &'static str {
    let Entry { key, value, .. } = entry;
    let after = |prefix: String| name_after(&prefix, key.as_bytes());
    if let Some(name) = after(ip::prefix(source)) {
        let ip = ip::decode(key, name, value).unwrap();
        assert_eq!(text(&ip::encode(&ip)), text(value));
        assert_eq!(name.parse::<Prefix>(), Ok(ip.prefix));
        if source == Source::State {
            assert_eq!(&ip::key(ip.prefix), key);
        }
        return "ip";
    }
    if let Some(name) = after(node::prefix(source, cluster)) {
        let node = node::decode(key, name, value).unwrap();
        assert_eq!(text(&node::encode(&node)), text(value));
        assert!(key.ends_with(&node::key(cluster, &node.name)["cilium/state".len()..]));
        return "node";
    }
    if let Some(name) = after(service::prefix(source, cluster)) {
        let service = service::decode(key, name, value).unwrap();
        assert_eq!(text(&service::encode(&service)), text(value));
        assert!(key.ends_with(&service::key(cluster, &service.name)["cilium/state".len()..]));
        return "service";
    }
    if let Some(name) = after(service_export::prefix(source, cluster)) {
        let export = service_export::decode(key, name, value).unwrap();
        assert_eq!(text(&service_export::encode(&export)), text(value));
        assert!(key.ends_with(&service_export::key(cluster, &export.name)["cilium/state".len()..]));
        return "service export";
    }
    if let Some(name) = after(endpoint_slice::prefix(source, cluster)) {
        let slice = endpoint_slice::decode(key, name, value).unwrap();
        assert_eq!((&slice.cluster, slice.name.to_string().as_str()), (cluster, name));
        assert!(!slice.endpoints.is_empty() && slice.ports[0].port == Some(8080), "{slice:?}");
        // Writers of zstd differ; what is inside does not.
        assert_eq!(endpoint_slice::encode_message(&slice), decompressed(value));
        assert_eq!(endpoint_slice::decode(key, name, &endpoint_slice::encode(&slice)).unwrap(), slice);
        assert!(key.ends_with(&endpoint_slice::key(cluster, &slice.name)["cilium/state".len()..]));
        return "endpoint slice";
    }
    if let Some(name) = after(identity::id_prefix(source)) {
        let (number, labels) = identity::decode(key, name, value).unwrap();
        assert_eq!(text(&identity::encode(&labels)), text(value));
        assert_eq!(labels.cluster(), Some(cluster.as_str()));
        if source == Source::State {
            assert_eq!(&identity::id_key(number), key);
        }
        return "identity";
    }
    if let Some((string, node_ip)) = identity::parse_value_key(key) {
        let number = identity::decode_number(key, value).unwrap();
        assert_eq!(identity::encode_number(number), *value);
        let labels = labels::decode(key, string.as_bytes()).unwrap();
        assert_eq!(&identity::value_key(&labels, node_ip.parse().unwrap()), key);
        return "identity in use";
    }
    if *key == cluster_config::key(cluster) {
        let config = cluster_config::decode(key, value).unwrap();
        assert_eq!(text(&cluster_config::encode(&config)), text(value));
        return "cluster config";
    }
    if let Some(name) = after(synced::prefix(cluster)) {
        let resource: Resource = synced::parse(source, name).unwrap();
        assert_eq!(&synced::key(cluster, source, resource), key);
        return "canary";
    }
    if lock::lease_of(key).is_some() && key.starts_with(lock::KVSTOREMESH_PATH) {
        assert!(value.is_empty());
        return "lock";
    }
    if key == heartbeat::KEY {
        let time: jiff::Timestamp = text(value).parse().unwrap();
        assert_eq!(heartbeat::encode(time), *value);
        return "heartbeat";
    }
    panic!("nobody knows {key}")
}

fn decompressed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(frame).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn count(file: &str, cluster: &str, cached: bool) -> Vec<(&'static str, usize)> {
    let cluster: ClusterName = cluster.parse().unwrap();
    let source = if cached { Source::Cache(&cluster) } else { Source::State };
    let mut counts = std::collections::BTreeMap::new();
    for entry in entries(file) {
        *counts.entry(check(&entry, &cluster, source)).or_default() += 1;
    }
    counts.into_iter().collect()
}

#[test]
fn a_cluster_in_etcd_mode() {
    let counts = count("etcd-mode.txt", "west", false);
    assert_eq!(
        counts,
        [
            ("canary", 3),
            ("cluster config", 1),
            ("endpoint slice", 4),
            ("heartbeat", 1),
            ("identity", 6),
            ("identity in use", 13),
            ("ip", 15),
            ("node", 3),
            ("service", 4),
            ("service export", 2),
        ]
    );
}

#[test]
fn a_cluster_as_its_apiserver_exports_it() {
    let kinds: Vec<_> = count("apiserver-mode.txt", "east", false).into_iter().map(|(kind, _)| kind).collect();
    assert!(kinds.contains(&"ip") && kinds.contains(&"canary") && !kinds.contains(&"identity in use"), "{kinds:?}");
}

#[test]
fn a_mirror() {
    let counts = count("kvstoremesh-mirror.txt", "east", true);
    assert!(counts.contains(&("lock", 1)) && counts.contains(&("canary", 6)), "{counts:?}");
}

/// etcd mode: identities live without a lease, all else is leased.
#[test]
fn leases_are_as_the_reference_says() {
    for entry in entries("etcd-mode.txt") {
        let master = entry.key.starts_with(&identity::id_prefix(Source::State));
        assert_eq!(entry.leased, !master, "{}", entry.key);
    }
}
