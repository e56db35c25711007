//! Who may claim what.

use model::{AddressKind, ClusterId, NodeAddress, Source};

use super::*;

fn node(cluster: &str, name: &str, ip: &str, cidr: &str) -> NodeRow {
    let id = ClusterId::try_new(1).unwrap();
    let mut node = Node::new(name.parse().unwrap(), cluster.parse().unwrap(), id);
    node.addresses.push(NodeAddress { kind: AddressKind::InternalIp, ip: ip.parse().unwrap() });
    node.ipv4_alloc_cidr = (!cidr.is_empty()).then(|| cidr.parse().unwrap());
    node.source = Source::ClusterMesh;
    NodeRow { node: Arc::new(node) }
}

fn bench() -> (statedb::Writer<NodeRow>, Arc<RemoteBorder>) {
    let (writer, nodes) = statedb::table();
    for row in [
        node("east", "e1", "192.0.2.1", "10.1.1.0/24"),
        node("west", "w1", "192.0.2.2", "10.2.1.0/24"),
        node("evil", "v1", "192.0.2.3", "10.3.1.0/24"),
    ] {
        writer.upsert(row);
    }
    let frontier = Frontier::new("east".parse().unwrap(), nodes, None);
    (writer, RemoteBorder::new("evil".parse().unwrap(), frontier, statedb::table().1, statedb::table().1))
}

fn outcome(result: Result<(), String>) -> String {
    result.map_or_else(|why| why, |()| "ok".to_owned())
}

#[test]
fn addresses_stay_in_their_cluster_and_behind_its_nodes() {
    let (_writer, border) = bench();
    let check = |ip: &str, id: u32, host: &str, expected: &str| {
        let mut entry = IpEntry::new(ip.parse().unwrap(), NumericIdentity::new(id));
        entry.host_ip = host.parse().ok();
        let got = outcome(border.ip(&entry));
        assert!(got.contains(expected), "{ip} {id} {host}: {got}");
    };
    check("10.3.1.7", 3 << 16, "192.0.2.3", "ok");
    check("10.3.1.7", 3 << 16, "", "ok");
    check("10.3.1.7", 6, "192.0.2.3", "ok");
    check("192.0.2.3", 6, "", "ok");
    check("10.3.1.7", 2, "192.0.2.3", "ID: 2 is reserved");
    check("10.3.1.7", 0, "192.0.2.3", "ID: 0 is reserved");
    check("10.1.1.7", 3 << 16, "192.0.2.3", "belongs to 10.1.1.0/24 of east/e1");
    check("192.0.2.1", 6, "", "192.0.2.1 is east/e1");
    check("10.2.1.7", 3 << 16, "192.0.2.3", "belongs to 10.2.1.0/24 of west/w1");
    check("10.9.9.9", 3 << 16, "192.0.2.3", "10.9.9.9 is outside the CIDRs");
    check("10.9.9.9", 6, "192.0.2.3", "ID: 6 is reserved, and 10.9.9.9 is outside");
    check("10.3.1.7", 3 << 16, "192.0.2.2", "HostIP: 192.0.2.2 is no node of evil");
    check("0.0.0.0/0", 3 << 16, "", "wider than /9");
    check("10.0.0.0/8", 3 << 16, "", "wider than /9");
    check("10.0.0.0/9", 3 << 16, "", "overlaps 10.1.1.0/24 of east/e1");
    check("127.0.0.1", 3 << 16, "", "loopback");
    check("169.254.1.1", 3 << 16, "", "link-local");
    check("224.0.0.1", 3 << 16, "", "multicast");
    check("fd00::1", 3 << 16, "", "ok");
}

#[test]
fn nodes_claim_no_range_of_others() {
    let (writer, border) = bench();
    let check = |row: NodeRow, expected: &str| {
        let got = outcome(border.node(&row.node));
        assert!(got.contains(expected), "{got}");
    };
    check(node("evil", "v2", "192.0.2.4", "10.3.2.0/24"), "ok");
    check(node("evil", "v2", "192.0.2.4", ""), "ok");
    check(
        node("evil", "v2", "192.0.2.4", "10.1.1.0/24"),
        "AllocCIDR 10.1.1.0/24: 10.1.1.0/24 overlaps 10.1.1.0/24 of east/e1",
    );
    check(node("evil", "v2", "192.0.2.4", "10.1.1.128/25"), "10.1.1.128/25 overlaps 10.1.1.0/24 of east/e1");
    check(node("evil", "v2", "192.0.2.4", "10.2.0.0/16"), "10.2.0.0/16 overlaps 10.2.1.0/24 of west/w1");
    check(node("evil", "v2", "192.0.2.1", "10.3.2.0/24"), "192.0.2.1 is east/e1");
    check(node("evil", "v2", "10.1.1.9", "10.3.2.0/24"), "belongs to 10.1.1.0/24 of east/e1");
    check(node("evil", "v2", "127.0.0.1", "10.3.2.0/24"), "loopback");
    // What becomes ours later was never theirs.
    writer.upsert(node("east", "e2", "192.0.2.4", "10.1.2.0/24"));
    check(node("evil", "v2", "192.0.2.4", "10.3.2.0/24"), "192.0.2.4 is east/e2");
}

#[test]
fn a_slice_loses_what_is_not_its_clusters() {
    let (_writer, border) = bench();
    let addresses = ["10.3.1.7", "10.1.1.7"].map(|ip| ip.parse().unwrap()).into();
    let slice = EndpointSlice {
        cluster: "evil".parse().unwrap(),
        cluster_id: ClusterId::try_new(3).unwrap(),
        name: "a/mixed".parse().unwrap(),
        labels: [].into(),
        annotations: [].into(),
        ipv4: true,
        endpoints: vec![model::SliceEndpoint { addresses, ..Default::default() }],
        ports: Vec::new(),
    };
    let (kept, left_out) = border.slice(slice).unwrap();
    assert_eq!(kept.endpoints[0].addresses, ["10.3.1.7".parse::<IpAddr>().unwrap()]);
    assert!(left_out.unwrap().starts_with("backends: 1 left out: 10.1.1.7 belongs to"));
    assert_eq!(border.backends.lock().total(), 1);
}

#[test]
fn backends_are_the_clusters_own_and_bounded() {
    let (_writer, border) = bench();
    let service = |name: &str, ips: Vec<String>| {
        let id = ClusterId::try_new(3).unwrap();
        let mut service = GlobalService::new("evil".parse().unwrap(), id, name.parse().unwrap());
        service.backends = ips.iter().map(|ip| (ip.parse().unwrap(), model::PortMap::new())).collect();
        service
    };
    let many = |count: u32| (0..count).map(|at| format!("fd00::{:x}:{:x}", at >> 16, at & 0xffff)).collect();
    let (kept, left_out) =
        border.service(service("a/mixed", ["10.3.1.7", "10.1.1.7", "10.9.9.9"].map(str::to_owned).into())).unwrap();
    assert_eq!(kept.backends.len(), 1);
    let left_out = left_out.unwrap();
    assert!(left_out.starts_with("backends: 2 left out: 10.1.1.7 belongs to 10.1.1.0/24 of east/e1"), "{left_out}");
    assert!(border.service(service("a/huge", many(5000))).unwrap_err().contains("more than 4096"));
    for number in 0..4 {
        border.service(service(&format!("a/s{number}"), many(4096))).unwrap();
    }
    // Those are 16,384 and one; the table has none of them, so that they count no longer.
    border.service(service("a/last", many(4096))).unwrap();
    assert_eq!(border.backends.lock().total(), 4096);
}
