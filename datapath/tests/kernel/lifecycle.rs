//! Starting again, other layouts, cleaning up, and what loading costs.

use crate::{
    fixture::{CLIENT, REDIRECT, SERVER, at, config, on_node, tcp_port},
    packet::{ACK, SYN, tcp},
};
use datapath::{Datapath, MapId, Program, kernel::Kernel, test_run};
use model::Direction;
use netlink::Netlink;
use std::time::Duration;

/// Verifier steps: the limit of the kernel is a million; ours leaves room for what is to come.
const BUDGET: u32 = 250_000;
/// Verifying all programs, on a slow and shared machine.
const LOAD: Duration = Duration::from_secs(5);

#[test]
fn programs_stay_within_their_budget() {
    on_node("budget", |node| {
        let costs = node.datapath.costs();
        assert_eq!(costs.len(), 4);
        for cost in costs {
            assert!((1..BUDGET).contains(&cost.verified_instructions), "{cost:?}");
        }
        assert!(costs.iter().map(|cost| cost.duration).sum::<Duration>() < LOAD, "{costs:?}");
    });
}

#[test]
fn a_restart_keeps_flows_and_rows_and_replaces_programs_in_place() {
    on_node("restart", |node| {
        node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
        let veth = node.client.host_ifindex;
        node.kernel.attach("lxc101", veth).unwrap();
        let (client, server) = (at(node.client_ip(0), 40_000), at(node.server_ip(0), 8000));
        assert_eq!(node.client_sends(&tcp(client, server, SYN)).action, REDIRECT);
        let flows = node.flows().len();
        let again = Datapath::start(node.datapath.config().clone()).unwrap();
        assert_eq!(again.replaced_maps(), &[] as &[&str]);
        assert_eq!(again.devices(), node.datapath.devices());
        assert_eq!(node.kernel.attached().unwrap(), ["lxc101"]);
        let packet = crate::packet::frame(&tcp(server, client, SYN | ACK));
        let run = test_run(again.program(Program::LxcIn), &packet, node.server.host_ifindex, 0, 1).unwrap();
        assert_eq!((run.action, node.flows().len()), (REDIRECT, flows), "an answer to a flow of before");
        // A pod that left meanwhile leaves a link without interface.
        Netlink::open().unwrap().delete_link("lxc101").unwrap();
        Datapath::start(node.datapath.config().clone()).unwrap();
        assert_eq!(node.kernel.attached().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_pin_of_another_layout_is_not_reused_but_flows_are_carried_over() {
    on_node("layout", |node| {
        let mut larger = node.datapath.config().clone();
        larger.conntrack_max *= 2;
        larger.ipcache_max *= 2;
        let packet = tcp(at(node.client_ip(0), 1), at(crate::fixture::remote_ip(0), 80), SYN);
        assert_eq!(node.client_sends(&packet).action, REDIRECT);
        let flows = node.kernel.dump(MapId::Ct4).unwrap();
        assert_eq!(flows.len(), 1);
        let again = Datapath::start(larger).unwrap();
        assert_eq!(again.replaced_maps(), ["ipcache4", "ipcache6"], "tables fill these again, and no others");
        assert_eq!(again.kernel().dump(MapId::Ipcache4).unwrap(), Vec::new());
        assert_eq!(again.kernel().dump(MapId::Ct4).unwrap(), flows);
        // The old programs go on until ours are settled: what they let begin meanwhile must not be lost either.
        let late = tcp(at(node.client_ip(0), 2), at(crate::fixture::remote_ip(0), 80), SYN);
        assert_eq!(node.client_sends(&late).action, REDIRECT);
        assert_eq!(again.kernel().dump(MapId::Ct4).unwrap().len(), 1);
        again.settle().unwrap();
        assert_eq!(again.kernel().dump(MapId::Ct4).unwrap().len(), 2);
        let once_more = Datapath::start(again.config().clone()).unwrap();
        assert_eq!(once_more.replaced_maps(), &[] as &[&str]);
    });
}

#[test]
fn flows_of_another_version_are_carried_over_and_its_pin_goes() {
    on_node("version", |node| {
        let packet = tcp(at(node.client_ip(0), 1), at(crate::fixture::remote_ip(0), 80), SYN);
        assert_eq!(node.client_sends(&packet).action, REDIRECT);
        let flows = node.kernel.dump(MapId::Ct4).unwrap();
        let maps = node.datapath.config().bpf_root.join("maps");
        let (ours, other) = (maps.join(ebpf_abi::maps::CT4.pin), maps.join("ct4_v999"));
        std::fs::rename(&ours, &other).unwrap();
        let again = Datapath::start(node.datapath.config().clone()).unwrap();
        assert_eq!(again.replaced_maps(), &[] as &[&str], "nothing waits for tables");
        assert_eq!(again.kernel().dump(MapId::Ct4).unwrap(), flows);
        assert!(ours.exists() && !other.exists());
    });
}

#[test]
fn cleanup_leaves_nothing_and_may_be_repeated() {
    on_node("cleanup", |node| {
        let root = node.datapath.config().bpf_root.clone();
        node.kernel.attach("lxc101", node.client.host_ifindex).unwrap();
        let cleaned = datapath::cleanup(&root).unwrap();
        assert_eq!((cleaned.links, cleaned.maps, cleaned.unmounted), (4, ebpf_abi::maps::ALL.len(), true));
        assert_eq!(cleaned.devices, [datapath::VXLAN_DEVICE, datapath::HOST_DEVICE]);
        assert!(!root.exists());
        assert_eq!(datapath::cleanup(&root).unwrap(), datapath::Cleaned::default());
        let mut nl = Netlink::open().unwrap();
        let routes = nl.routes(None).unwrap();
        assert!(routes.iter().all(|route| route.destination.to_string() != "10.1.0.0/24"), "{routes:?}");
        // And it can begin again.
        Datapath::start(config(root)).unwrap();
    });
}

#[test]
fn the_object_and_the_shared_layouts_agree() {
    on_node("object", |node| {
        use datapath::dump;
        for map in [MapId::Ifaces, MapId::Endpoints4, MapId::Ipcache6, MapId::IpcacheLpm6, MapId::Services6] {
            node.kernel.dump(map).unwrap();
        }
        // Pins are checked against `ebpf_abi::maps` at every start: a difference would replace them.
        let again = Datapath::start(node.datapath.config().clone()).unwrap();
        assert_eq!(again.replaced_maps(), &[] as &[&str]);
        assert!(dump::ipcache(&mut node.kernel).unwrap().len() >= 4);
    });
}

#[test]
fn the_driver_carries_rows_and_routes_into_the_kernel() {
    on_node("driver", |node| {
        let intent = crate::cluster::Intent::new();
        let (nodes, nodes_reader) = statedb::table();
        let mut row = node.client.clone();
        row.id = model::EndpointId(7);
        let again = Datapath::start(node.datapath.config().clone()).unwrap();
        let host = again.devices().host;
        let inputs = datapath::driver::Inputs {
            datapath: again,
            tables: intent.tables.clone(),
            nodes: nodes_reader,
            realized: intent.realized.clone(),
            journal: datapath::Journal::default(),
        };
        let (status, mut changed) = tokio::sync::watch::channel(datapath::Status::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let work = async {
                intent.endpoints.upsert(row.clone());
                for ip in row.ips() {
                    intent.announce(ip.into(), CLIENT, None);
                }
                intent.policy_is_current();
                let realized = intent.realized.reader();
                realized.wait_for(|rows| rows.len() == 1).await;
                changed.wait_for(|status| status.pruned && status.error.is_none()).await.unwrap();
                let mut far = model::Node::new("far".parse().unwrap(), "west".parse().unwrap(), model::ClusterId::NONE);
                far.ipv4_alloc_cidr = Some("10.9.0.0/24".parse().unwrap());
                far.ipv6_alloc_cidr = Some("fd09::/64".parse().unwrap());
                let far = tables::NodeRow { node: std::sync::Arc::new(far) };
                let routed = |cidr: &str| {
                    let cidr = cidr.to_owned();
                    Netlink::open()
                        .unwrap()
                        .routes(Some(host))
                        .unwrap()
                        .into_iter()
                        .find(|route| route.destination.to_string() == cidr)
                };
                nodes.upsert(far.clone());
                while routed("10.9.0.0/24").is_none() || routed("fd09::/64").is_none() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                assert_eq!(routed("10.9.0.0/24").unwrap().mtu, Some(1450));
                nodes.delete(&statedb::Row::key(&far));
                while routed("10.9.0.0/24").is_some() || routed("fd09::/64").is_some() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                assert!(routed("10.1.0.0/24").is_some(), "our own stays");
                intent.endpoints.delete(&row.id);
                realized.wait_for(|rows| rows.is_empty()).await;
            };
            tokio::select! {
                () = datapath::driver::run(inputs, status) => {}
                result = tokio::time::timeout(Duration::from_secs(20), work) => result.unwrap(),
            }
        });
    });
}
