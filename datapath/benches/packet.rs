//! Nanoseconds a packet for the common ways through the datapath, one JSON line each.
//! Needs root; `cargo bench -p datapath --bench packet`.

#![expect(clippy::unwrap_used, reason = "a benchmark")]
#![expect(dead_code, reason = "shares the fixture of the tests, not all of it")]

#[path = "../tests/kernel/fixture.rs"]
mod fixture;
#[path = "../tests/kernel/packet.rs"]
mod packet;

use datapath::{Program, measure::Stopwatch, plan::service::Services};
use fixture::{CLIENT, DROP, FAMILIES, Node, PASS, REDIRECT, REMOTE, SERVER, at, remote_ip, tcp_port, world_ip};
use model::{Backend, BackendState, ClusterId, Direction, L3n4Addr, PortProto, Protocol, Source};
use packet::{ACK, SYN, frame, tcp};
use serde_json::json;
use std::net::IpAddr;
use tables::Frontend;

const FAMILY_NAMES: [&str; 2] = ["ipv4", "ipv6"];

fn main() {
    fixture::on_node("bench", |node| {
        for cost in node.datapath.costs() {
            println!(
                "{}",
                json!({"bench": "verifier", "program": cost.program, "instructions": cost.verified_instructions,
                       "load_ms": cost.duration.as_secs_f64() * 1e3})
            );
        }
        fill_policy(node);
        for family in FAMILIES {
            walks(node, family);
        }
    });
}

/// Four rules a direction, as a small deployment has.
fn fill_policy(node: &mut Node) {
    for port in [80, 443, 8000, 9090] {
        node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(port));
        node.allow(CLIENT, Direction::Egress, REMOTE, PortProto::new(port, Protocol::Tcp));
        node.allow(CLIENT, Direction::Egress, SERVER, PortProto::new(port, Protocol::Tcp));
    }
}

fn walks(node: &mut Node, family: usize) {
    let (client, server) = (at(node.client_ip(family), 40_000), at(node.server_ip(family), 8000));
    let remote = at(remote_ip(family), 8000);
    let vip: IpAddr = ["172.30.0.1", "fd30::1"][family].parse().unwrap();
    let remote_vip: IpAddr = ["172.30.0.2", "fd30::2"][family].parse().unwrap();
    let mut services = Services::default();
    for (vip, backend) in [(vip, server), (remote_vip, remote)] {
        let frontend = frontend(L3n4Addr::new(vip, 80, Protocol::Tcp), backend);
        let ops = services.upsert(&frontend).unwrap();
        node.apply(ops);
    }
    let (ifindex, other) = (node.client.host_ifindex, node.server.host_ifindex);
    let router: IpAddr = ["10.1.0.1", "fd01::1"][family].parse().unwrap();
    node.allow(SERVER, Direction::Ingress, 1, tcp_port(8000));
    let cases = [
        ("local", Program::LxcIn, ifindex, client, server, REDIRECT),
        ("local reply", Program::LxcIn, other, server, client, REDIRECT),
        ("vxlan", Program::LxcIn, ifindex, client, remote, REDIRECT),
        ("service local", Program::LxcIn, ifindex, at(client.ip(), 40_001), at(vip, 80), REDIRECT),
        ("service remote", Program::LxcIn, ifindex, at(client.ip(), 40_002), at(remote_vip, 80), REDIRECT),
        ("drop", Program::LxcIn, ifindex, client, at(server.ip(), 9999), DROP),
        ("world", Program::LxcIn, ifindex, client, at(world_ip(family), 443), PASS),
        ("host to pod", Program::LxcOut, other, at(router, 40_000), server, PASS),
    ];
    for (name, program, ifindex, src, dst, action) in cases {
        node.run(program, &frame(&tcp(src, dst, SYN)), ifindex, 0);
        let stopwatch = Stopwatch::new(ifindex).unwrap();
        let measured = stopwatch.measure(node.datapath.program(program), &frame(&tcp(src, dst, ACK))).unwrap();
        assert_eq!(measured.action, action, "{name}");
        println!(
            "{}",
            json!({"bench": "packet", "walk": name, "family": FAMILY_NAMES[family],
                   "ns_per_packet": measured.nanos_per_packet})
        );
    }
}

fn frontend(addr: L3n4Addr, backend: std::net::SocketAddr) -> Frontend {
    Frontend {
        addr,
        service: "default/web".parse().unwrap(),
        backends: vec![Backend {
            addr: L3n4Addr::new(backend.ip(), backend.port(), Protocol::Tcp),
            port_names: Vec::new(),
            state: BackendState::Active,
            zone: None,
            cluster_id: ClusterId::NONE,
            source: Source::Local,
        }],
        draining: Vec::new(),
    }
}
