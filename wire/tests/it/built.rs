//! Values built by hand give the very bytes of the golden stores.

use std::collections::BTreeMap;

use model::{
    AddressKind, ClusterId, ClusterName, GlobalService, IpEntry, IpNames, Labels, NamedPort, Node, NodeAddress,
    NumericIdentity, PortMap, PortProto, Protocol, Source as Origin, ZoneHints,
};
use wire::{
    cluster_config::{self, ClusterConfig, SliceExport},
    identity, ip, node, service,
    service_export::{self, ExportPort, ServiceExport, SessionAffinity},
};

use crate::store::entries;

#[track_caller]
fn check(file: &str, key: &str, value: &[u8]) {
    let stored = entries(file).into_iter().find(|entry| entry.key == key).unwrap_or_else(|| panic!("no {key}"));
    assert_eq!(String::from_utf8_lossy(value), String::from_utf8_lossy(&stored.value));
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn west() -> (ClusterName, ClusterId) {
    ("west".parse().unwrap(), ClusterId::try_new(3).unwrap())
}

#[test]
fn an_address() {
    let mut entry = IpEntry::new("10.3.0.10".parse().unwrap(), NumericIdentity::new(206751));
    entry.host_ip = Some("172.19.0.1".parse().unwrap());
    let metadata = &ip::endpoint_metadata(&"west-node-0".parse().unwrap(), model::EndpointId(100));
    entry.texts = IpNames { metadata, namespace: "shop", pod_name: "pod-0-0", service_account: "sa-0" }.into();
    let port = |name: &str, port| NamedPort { name: name.into(), port, proto: Protocol::Tcp };
    entry.named_ports = vec![port("http", 8080), port("metrics", 9090)].into();
    check("etcd-mode.txt", &ip::key(entry.prefix), &ip::encode(&entry));
}

#[test]
fn a_cidr_and_escaped_text() {
    let entry = IpEntry::new("10.20.0.0/16".parse().unwrap(), NumericIdentity::new(131500));
    let expect = r#"{"IP":"10.20.0.0","Mask":"//8AAA==","HostIP":"","ID":131500,"Key":0,"Metadata":""}"#;
    assert_eq!(String::from_utf8(ip::encode(&entry)).unwrap(), expect);
    let mut entry = IpEntry::new("fd10::1".parse().unwrap(), NumericIdentity::new(300));
    entry.texts = IpNames { pod_name: "<&>", ..IpNames::default() }.into();
    let expect =
        r#"{"IP":"fd10::1","Mask":null,"HostIP":"","ID":300,"Key":0,"Metadata":"","K8sPodName":"\u003c\u0026\u003e"}"#;
    assert_eq!(String::from_utf8(ip::encode(&entry)).unwrap(), expect);
}

#[test]
fn a_node() {
    let (cluster, id) = west();
    let mut node = Node::new("west-node-1".parse().unwrap(), cluster, id);
    for (kind, ip) in [
        (AddressKind::InternalIp, "172.19.0.2"),
        (AddressKind::CiliumInternalIp, "10.3.1.1"),
        (AddressKind::InternalIp, "fd00:3::2"),
        (AddressKind::CiliumInternalIp, "fd10:3:1::1"),
    ] {
        node.addresses.push(NodeAddress { kind, ip: ip.parse().unwrap() });
    }
    node.ipv4_alloc_cidr = Some("10.3.1.0/24".parse().unwrap());
    node.ipv6_alloc_cidr = Some("fd10:3:1::/64".parse().unwrap());
    node.ipv4_health_ip = Some("10.3.1.2".parse().unwrap());
    node.ipv6_health_ip = Some("fd10:3:1::2".parse().unwrap());
    node.labels = map(&[("kubernetes.io/hostname", "west-node-1"), ("topology.kubernetes.io/zone", "z1")]);
    node.boot_id = "f12453c1-0000-4000-8000-50fa2140d8fd".into();
    node.source = Origin::Local;
    check("etcd-mode.txt", &node::key(&node.cluster, &node.name), &node::encode(&node));
}

#[test]
fn a_service_with_zones() {
    let (cluster, id) = west();
    let mut service = GlobalService::new(cluster, id, "shop/svc-0".parse().unwrap());
    let ports = |port| PortMap::from([("http".to_owned(), PortProto::new(port, Protocol::Tcp))]);
    service.frontends.insert("10.96.0.1".parse().unwrap(), ports(80));
    for ip in ["10.3.0.12", "10.3.0.11", "10.3.0.10"] {
        service.backends.insert(ip.parse().unwrap(), ports(8080));
        let hints = ZoneHints { zone: "z0".to_owned(), for_zones: vec!["z0".to_owned()] };
        service.zones.insert(ip.parse().unwrap(), hints);
    }
    service.labels = map(&[("team", "t0")]);
    service.selector = map(&[("app", "app-0")]);
    (service.include_external, service.shared) = (true, true);
    check("etcd-mode.txt", &service::key(&service.cluster, &service.name), &service::encode(&service));
}

#[test]
fn a_service_export() {
    let export = ServiceExport {
        cluster: west().0,
        name: "shop/svc-0".parse().unwrap(),
        annotations: map(&[("owner", "x")]),
        labels: map(&[("tier", "web")]),
        created: "2026-01-02T03:04:05Z".parse().unwrap(),
        ports: vec![ExportPort { name: "http".into(), protocol: "TCP".into(), app_protocol: None, port: 80 }],
        headless: false,
        session_affinity: SessionAffinity::None,
        ip_families: vec!["IPv4".into()],
        internal_traffic_policy: "Cluster".into(),
        traffic_distribution: String::new(),
    };
    check("etcd-mode.txt", &service_export::key(&export.cluster, &export.name), &service_export::encode(&export));
}

#[test]
fn cluster_configs() {
    let (cluster, id) = west();
    let mut config = ClusterConfig {
        id,
        max_connected_clusters: 255,
        service_exports_enabled: Some(true),
        endpoint_slices: SliceExport::ServicesAndEndpointSlices,
        ..ClusterConfig::default()
    };
    check("etcd-mode.txt", &cluster_config::key(&cluster), &cluster_config::encode(&config));
    config.id = ClusterId::try_new(2).unwrap();
    config.synced_canaries = true;
    let east = "east".parse().unwrap();
    check("apiserver-mode.txt", &cluster_config::key(&east), &cluster_config::encode(&config));
    config.cached = true;
    check("kvstoremesh-mirror.txt", &cluster_config::key(&east), &cluster_config::encode(&config));
}

#[test]
fn an_identity_from_a_pod() {
    let cluster = west().0;
    let facts = model::PodFacts {
        cluster: &cluster,
        namespace: "bank",
        namespace_labels: &BTreeMap::new(),
        service_account: "sa-1",
        labels: &map(&[("empty", ""), ("app", "app-1"), ("pod-template-hash", "7d9")]),
        filter: &model::LabelFilter::default(),
    };
    let labels: Labels = facts.identity_labels().unwrap();
    check("etcd-mode.txt", &identity::id_key(NumericIdentity::new(202426)), &identity::encode(&labels));
}
