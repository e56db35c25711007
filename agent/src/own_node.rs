//! The record of our own node, as other nodes shall see it: what options say, and what its objects add.
//!
//! ```text
//!   options ──node::own──> base ─┐
//!   ranges that are handed out while we run ─┤
//!   node-objects (Node, CiliumNode) ─────────┴─with_objects──> nodes (our row) ──> exports, ipcache, routes
//!                                                   └─ ranges and addresses of its own ──> ipam
//! ```
//! Options win: an object changes neither the addresses that tunnels end at nor the router's. Ranges that a CiliumNode
//! lists beside the node's own are further ones, and pods get addresses of them when the first is full.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipam::PoolNames;
use model::{AddressKind, Node, NodeAddress, PodRange, Prefix};
use parking_lot::Mutex;
use statedb::{Reader, Row, Writer};
use tables::{Alarm, Export, NodeObject, NodeRow};
use tokio::sync::watch;

use crate::{exports, preflight};

/// How long a node is published without what its objects may say: they are not read while their directory cannot be.
const PATIENCE: Duration = Duration::from_secs(15);

const ALARM: &str = "node/own";

pub(crate) struct Inputs {
    pub(crate) base: Node,
    pub(crate) objects: Reader<NodeObject>,
    /// What was handed out, the base's own included; empty when nothing is.
    pub(crate) ranges: watch::Receiver<Vec<PodRange>>,
    pub(crate) nodes: Writer<NodeRow>,
    pub(crate) ipam: Arc<Mutex<ipam::Ipam>>,
    pub(crate) alarms: Writer<Alarm>,
}

/// Keeps our row; runs until the future is dropped.
pub(crate) async fn run(inputs: Inputs) {
    let mut changes = inputs.objects.changes();
    let mut handed_out = inputs.ranges.clone();
    loop {
        let pooled = handed_out.borrow_and_update().clone();
        let (_, rows) = changes.drain_with_snapshot();
        let ours = rows.iter().filter(|row| row.name == inputs.base.name);
        let (mut node, mut problems) = with_objects(&inputs.base, &pooled, ours.map(|row| &**row));
        {
            let mut ipam = inputs.ipam.lock();
            for (pool, cidrs) in by_pool(&node, &pooled) {
                ipam.set_ranges(&pool, &cidrs);
            }
            for ip in ipam.reserve(node.health_ips().chain(node.ingress_ips()).collect::<Vec<_>>()) {
                problems.push(format!("health or ingress address {ip} is a pod's: it is not published"));
                drop_address(&mut node, ip);
            }
        }
        if inputs
            .nodes
            .reader()
            .snapshot()
            .get(&NodeRow { node: Arc::new(node.clone()) }.key())
            .is_none_or(|row| *row.node != node)
        {
            inputs.nodes.upsert(NodeRow { node: Arc::new(node) });
        }
        match problems.is_empty() {
            true => drop(inputs.alarms.delete(&ALARM.into())),
            false => drop(inputs.alarms.upsert(Alarm { name: ALARM.into(), message: problems.join("; ").into() })),
        }
        tokio::select! {
            () = changes.wait() => {}
            Ok(()) = handed_out.changed() => {}
        }
    }
}

/// The node's ranges by pool, in the order of use; what no pool claims is the default's.
fn by_pool(node: &Node, pooled: &[PodRange]) -> BTreeMap<Arc<str>, Vec<Prefix>> {
    let mut pools: BTreeMap<Arc<str>, Vec<Prefix>> = BTreeMap::new();
    for cidr in node.pod_cidrs() {
        let pool = pooled.iter().find(|range| range.cidr == cidr).map(|range| Arc::clone(&range.pool));
        pools.entry(pool.unwrap_or_else(|| PoolNames::DEFAULT.into())).or_default().push(cidr);
    }
    pools
}

/// Publishes our row, now and whenever it changes; runs until the future is dropped.
pub(crate) async fn publish(own: Node, objects: Reader<NodeObject>, nodes: Reader<NodeRow>, exports: Writer<Export>) {
    // What a restarted agent does not know yet must not vanish from the store meanwhile.
    if tokio::time::timeout(PATIENCE, objects.wait_for(statedb::Snapshot::is_initialised)).await.is_err() {
        tracing::warn!("our node is published without what its objects say: they cannot be read");
    }
    let mut changes = nodes.changes();
    loop {
        for change in changes.drain() {
            let node = &change.row().node;
            if node.cluster == own.cluster && node.name == own.name {
                exports.upsert(exports::node_export(node));
            }
        }
        changes.wait().await;
    }
}

/// The record with what its objects add, and what of it cannot be.
pub(crate) fn with_objects<'a>(
    base: &Node,
    pooled: &[PodRange],
    objects: impl Iterator<Item = &'a NodeObject>,
) -> (Node, Vec<String>) {
    let (mut node, mut problems) = (base.clone(), Vec::new());
    let (routers, mut addresses): (Vec<NodeAddress>, Vec<NodeAddress>) =
        std::mem::take(&mut node.addresses).into_iter().partition(|one| one.kind == AddressKind::CiliumInternalIp);
    let mut cidrs: Vec<Prefix> = base.pod_cidrs().collect();
    let further: Vec<Prefix> =
        pooled.iter().map(|range| range.cidr).filter(|cidr| !base.pod_cidrs().any(|held| held == *cidr)).collect();
    cidrs.extend(further);
    for object in objects {
        node.labels.extend(object.labels.clone());
        node.annotations.extend(object.annotations.clone());
        for address in &object.addresses {
            let given = |held: &NodeAddress| {
                let same_kind = held.kind == address.kind && held.ip.is_ipv4() == address.ip.is_ipv4();
                same_kind && (held.ip == address.ip || held.kind == AddressKind::InternalIp)
            };
            if address.kind != AddressKind::CiliumInternalIp && !addresses.iter().any(given) {
                addresses.push(*address);
            }
        }
        for cidr in object.pod_cidrs.iter() {
            if cidrs.contains(cidr) {
                continue;
            }
            match usable(*cidr, &cidrs) {
                Ok(()) => cidrs.push(*cidr),
                Err(why) => problems.push(why),
            }
        }
        node.ipv4_health_ip = object.ipv4_health_ip.or(node.ipv4_health_ip);
        node.ipv6_health_ip = object.ipv6_health_ip.or(node.ipv6_health_ip);
        node.ipv4_ingress_ip = object.ipv4_ingress_ip.or(node.ipv4_ingress_ip);
        node.ipv6_ingress_ip = object.ipv6_ingress_ip.or(node.ipv6_ingress_ip);
        if object.encryption_key != 0 {
            node.encryption_key = object.encryption_key;
        }
        if !object.wireguard_pub_key.is_empty() {
            node.wireguard_pub_key = Arc::clone(&object.wireguard_pub_key);
        }
    }
    node.addresses = addresses;
    node.addresses.extend(routers);
    let primary: BTreeSet<Prefix> = base.ipv4_alloc_cidr.into_iter().chain(base.ipv6_alloc_cidr).collect();
    let further = |ipv4| cidrs.iter().copied().filter(move |cidr: &Prefix| cidr.is_ipv4() == ipv4);
    node.ipv4_secondary_alloc_cidrs = further(true).filter(|cidr| !primary.contains(cidr)).collect();
    node.ipv6_secondary_alloc_cidrs = further(false).filter(|cidr| !primary.contains(cidr)).collect();
    (node, problems)
}

/// Whether pods can have addresses of a further range.
fn usable(cidr: Prefix, held: &[Prefix]) -> Result<(), String> {
    preflight::pod_range(&cidr.to_string()).map_err(|why| format!("pod range {why}"))?;
    if !held.iter().any(|one| one.is_ipv4() == cidr.is_ipv4()) {
        return Err(format!("pod range {cidr} is not used: the node has no range of its family by option"));
    }
    match held.iter().find(|one| one.covers(cidr) || cidr.covers(**one)) {
        Some(other) => Err(format!("pod range {cidr} is not used: it overlaps {other}")),
        None => Ok(()),
    }
}

fn drop_address(node: &mut Node, ip: std::net::IpAddr) {
    use std::net::IpAddr::{V4, V6};
    for slot in [&mut node.ipv4_health_ip, &mut node.ipv4_ingress_ip] {
        slot.take_if(|held| V4(*held) == ip);
    }
    for slot in [&mut node.ipv6_health_ip, &mut node.ipv6_ingress_ip] {
        slot.take_if(|held| V6(*held) == ip);
    }
}

#[cfg(test)]
mod tests {
    use model::{ClusterId, Source};
    use tables::NodeObjectKind;

    use super::*;

    fn address(kind: AddressKind, ip: &str) -> NodeAddress {
        NodeAddress { kind, ip: ip.parse().unwrap() }
    }

    fn base() -> Node {
        let mut node = Node::new("node-a".parse().unwrap(), "east".parse().unwrap(), ClusterId::try_new(1).unwrap());
        node.addresses =
            vec![address(AddressKind::InternalIp, "192.0.2.1"), address(AddressKind::CiliumInternalIp, "10.0.0.1")];
        node.ipv4_alloc_cidr = Some("10.0.0.0/24".parse().unwrap());
        node.labels.insert("kubernetes.io/hostname".to_owned(), "node-a".to_owned());
        node.boot_id = "b".into();
        node.source = Source::Local;
        node
    }

    fn objects() -> [NodeObject; 2] {
        let mut kubernetes = NodeObject::new(NodeObjectKind::Node, "node-a".parse().unwrap());
        kubernetes.addresses =
            vec![address(AddressKind::InternalIp, "192.0.2.77"), address(AddressKind::ExternalIp, "198.51.100.1")];
        kubernetes.labels.insert("zone".to_owned(), "z1".to_owned());
        let mut cilium = NodeObject::new(NodeObjectKind::CiliumNode, "node-a".parse().unwrap());
        cilium.addresses = vec![
            address(AddressKind::ExternalIp, "198.51.100.1"),
            address(AddressKind::Hostname, "198.51.100.2"),
            address(AddressKind::CiliumInternalIp, "10.0.0.200"),
        ];
        cilium.labels.insert("zone".to_owned(), "z2".to_owned());
        cilium.annotations.insert("network.cilium.io/wg-pub-key".to_owned(), "k=".to_owned());
        cilium.wireguard_pub_key = "k=".into();
        cilium.pod_cidrs = ["10.0.0.0/24", "10.7.0.0/24"].map(|cidr| cidr.parse().unwrap()).to_vec();
        cilium.ipv4_health_ip = "10.0.0.9".parse().ok();
        cilium.ipv4_ingress_ip = "10.0.0.8".parse().ok();
        cilium.encryption_key = 3;
        [kubernetes, cilium]
    }

    /// The bytes that Cilium 1.20.2 writes for a node with these contents.
    #[test]
    fn options_win_and_objects_add_the_rest() {
        let (node, problems) = with_objects(&base(), &[], objects().iter());
        assert!(problems.is_empty(), "{problems:?}");
        let expect = concat!(
            r#"{"Name":"node-a","Cluster":"east","IPAddresses":[{"Type":"InternalIP","IP":"192.0.2.1"},"#,
            r#"{"Type":"ExternalIP","IP":"198.51.100.1"},{"Type":"Hostname","IP":"198.51.100.2"},"#,
            r#"{"Type":"CiliumInternalIP","IP":"10.0.0.1"}],"IPv4AllocCIDR":{"IP":"10.0.0.0","Mask":"////AA=="},"#,
            r#""IPv4SecondaryAllocCIDRs":[{"IP":"10.7.0.0","Mask":"////AA=="}],"IPv6AllocCIDR":null,"#,
            r#""IPv6SecondaryAllocCIDRs":null,"IPv4HealthIP":"10.0.0.9","IPv6HealthIP":"","IPv4IngressIP":"10.0.0.8","#,
            r#""IPv6IngressIP":"","ClusterID":1,"Source":"local","EncryptionKey":3,"Labels":{"kubernetes.io/hostname":"#,
            r#""node-a","zone":"z2"},"Annotations":{"network.cilium.io/wg-pub-key":"k="},"WireguardPubKey":"k=","#,
            r#""BootID":"b"}"#
        );
        assert_eq!(String::from_utf8(wire::node::encode(&node)).unwrap(), expect);
        assert_eq!(with_objects(&base(), &[], [].iter()).0, base());
    }

    #[test]
    fn ranges_that_no_pod_can_use_are_told() {
        let mut object = NodeObject::new(NodeObjectKind::CiliumNode, "node-a".parse().unwrap());
        object.pod_cidrs =
            ["10.0.0.0/16", "fd00::/64", "127.0.0.0/24", "10.9.0.0/24"].map(|cidr| cidr.parse().unwrap()).to_vec();
        let (node, problems) = with_objects(&base(), &[], [object].iter());
        assert_eq!(node.ipv4_secondary_alloc_cidrs, ["10.9.0.0/24".parse().unwrap()]);
        let text = problems.join("\n");
        for part in ["10.0.0.0/16 is not used: it overlaps 10.0.0.0/24", "fd00::/64 is not used", "127.0.0.0/24"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_changes_is_published_at_once_and_its_address_is_kept_from_pods() {
        let folder = tempfile::tempdir().unwrap();
        let ipam = ipam::Ipam::open(base().pod_cidrs(), &folder.path().join("ipam.json")).unwrap();
        let ipam = Arc::new(Mutex::new(ipam));
        let ((write, objects), (nodes, rows)) = (statedb::table(), statedb::table());
        let ((exports, told), (alarms, seen)) = (statedb::table::<Export>(), statedb::table());
        let publish = publish(base(), objects.clone(), rows, exports);
        let (hand_out, ranges) = watch::channel(Vec::new());
        let inputs = Inputs { base: base(), objects, ranges, nodes, ipam: Arc::clone(&ipam), alarms };
        let pod = ipam.lock().allocate("pod", &PoolNames::default()).unwrap().ips[0];
        let story = async {
            let says = |part: &'static str| {
                told.wait_for(move |rows| rows.iter().any(|row| String::from_utf8_lossy(&row.value).contains(part)))
            };
            says(r#""IPv4HealthIP":"""#).await;
            let [_, mut object] = self::objects();
            object.ipv4_health_ip = "10.0.0.3".parse().ok();
            write.upsert(object.clone());
            says(r#""IPv4HealthIP":"10.0.0.3""#).await;
            let next = ipam.lock().allocate("next", &PoolNames::default()).unwrap().ips[0];
            assert_eq!(next.to_string(), "10.0.0.4", "10.0.0.3 is the health endpoint's");
            let range = |pool: &str, cidr: &str| PodRange::new(pool, cidr.parse().unwrap());
            hand_out.send_replace(vec![range("default", "10.0.0.0/24"), range("blue", "10.5.0.0/28")]);
            says("10.5.0.0").await;
            let blue = PoolNames { ipv4: "blue".into(), ..PoolNames::default() };
            assert_eq!(ipam.lock().allocate("painted", &blue).unwrap().ips[0].to_string(), "10.5.0.2");
            let std::net::IpAddr::V4(pod) = pod else { panic!("{pod}") };
            object.ipv4_health_ip = Some(pod);
            write.upsert(object);
            says(r#""IPv4HealthIP":"""#).await;
            seen.wait_for(|alarms| alarms.text().contains("is a pod's")).await;
        };
        tokio::select! {
            () = run(inputs) => {}
            () = publish => {}
            done = tokio::time::timeout(Duration::from_secs(60), story) => done.expect("it is published"),
        }
    }
}
