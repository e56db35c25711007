//! ClusterIP services: forward, back, hairpin, and what happens when backends come and go.

use crate::{
    fixture::{CLIENT, FAMILIES, Node, REDIRECT, REMOTE, SERVER, at, on_node, remote_ip, tcp_port},
    packet::{ACK, FIN, SYN, frame, look, tcp, udp},
};
use datapath::plan::service::Services;
use model::{Backend, BackendState, ClusterId, Direction, L3n4Addr, Protocol, Source};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};
use tables::Frontend;

pub(crate) fn vip(family: usize) -> IpAddr {
    ["172.30.0.1", "fd30::1"][family].parse().unwrap()
}

pub(crate) fn frontend(addr: SocketAddr, backends: &[SocketAddr], draining: &[SocketAddr]) -> Frontend {
    let backend = |addr: &SocketAddr, state| Backend {
        addr: L3n4Addr::new(addr.ip(), addr.port(), Protocol::Tcp),
        port_names: Vec::new(),
        state,
        zone: None,
        cluster_id: ClusterId::NONE,
        source: Source::Local,
    };
    Frontend {
        addr: L3n4Addr::new(addr.ip(), addr.port(), Protocol::Tcp),
        service: "default/web".parse().unwrap(),
        backends: backends.iter().map(|addr| backend(addr, BackendState::Active)).collect(),
        draining: draining.iter().map(|addr| backend(addr, BackendState::Terminating)).collect(),
    }
}

fn serve(node: &mut Node, services: &mut Services, frontend: &Frontend) {
    let ops = services.upsert(frontend).unwrap();
    node.apply(ops);
}

#[test]
fn a_service_is_translated_there_and_back() {
    on_node("service", |node| {
        node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
        let mut services = Services::default();
        for family in FAMILIES {
            let (client, server) = (at(node.client_ip(family), 40_000), at(node.server_ip(family), 8000));
            let front = at(vip(family), 80);
            serve(node, &mut services, &frontend(front, &[server], &[]));
            let run = node.client_sends(&tcp(client, front, SYN));
            assert_eq!(run.action, REDIRECT);
            let seen = look(&run.packet);
            assert_eq!((seen.src, seen.dst, seen.ttl), (client, server, 63));
            let run = node.server_sends(&tcp(server, client, SYN | ACK));
            assert_eq!((run.action, look(&run.packet).src), (REDIRECT, front));
            // Directly, without the service, the answer keeps its source.
            let direct = at(client.ip(), 40_001);
            assert_eq!(node.client_sends(&tcp(direct, server, SYN)).action, REDIRECT);
            assert_eq!(look(&node.server_sends(&tcp(server, direct, SYN | ACK)).packet).src, server);
            // Neither another port nor another protocol of a ClusterIP leads anywhere.
            node.dropped(158, |node| node.client_sends(&tcp(client, at(vip(family), 81), SYN)));
            node.dropped(158, |node| node.client_sends(&udp(client, front)));
        }
    });
}

#[test]
fn a_remote_backend_is_reached_through_the_overlay() {
    on_node("remote backend", |node| {
        let mut services = Services::default();
        for family in FAMILIES {
            let (client, server) = (at(node.client_ip(family), 40_000), at(remote_ip(family), 8000));
            serve(node, &mut services, &frontend(at(vip(family), 80), &[server], &[]));
            let run = node.client_sends(&tcp(client, at(vip(family), 80), SYN));
            assert_eq!(run.action, REDIRECT);
            assert_eq!((look(&run.packet).src, look(&run.packet).dst), (client, server));
            // Policy looks at the backend, not at the service.
            node.rule(CLIENT, Direction::Egress, REMOTE, tcp_port(8000), true, 255);
            node.dropped(181, |node| node.client_sends(&tcp(client, at(vip(family), 80), ACK)));
            node.revoke(CLIENT, Direction::Egress, REMOTE, tcp_port(8000));
        }
    });
}

#[test]
fn a_client_that_is_its_own_backend_talks_to_itself() {
    on_node("hairpin", |node| {
        let mut services = Services::default();
        for family in FAMILIES {
            let client = at(node.client_ip(family), 40_000);
            let (front, back) = (at(vip(family), 80), at(client.ip(), 8000));
            let loopback: IpAddr =
                [node.datapath.config().loopback_ipv4.into(), node.datapath.config().loopback_ipv6.into()][family];
            serve(node, &mut services, &frontend(front, &[back], &[]));
            for flags in [SYN, ACK] {
                let run = node.client_sends(&tcp(client, front, flags));
                assert_eq!(run.action, REDIRECT);
                assert_eq!((look(&run.packet).src, look(&run.packet).dst), (at(loopback, 40_000), back));
            }
            let run = node.client_sends(&tcp(back, at(loopback, 40_000), SYN | ACK));
            assert_eq!(run.action, REDIRECT);
            assert_eq!((look(&run.packet).src, look(&run.packet).dst), (front, client));
        }
    });
}

#[test]
fn flows_keep_their_backend_until_it_is_gone() {
    on_node("backends", |node| {
        let mut services = Services::default();
        for family in FAMILIES {
            let front = at(vip(family), 80);
            let backends: Vec<SocketAddr> = (0..3).map(|i| at(remote_ip(family), 8000 + i)).collect();
            serve(node, &mut services, &frontend(front, &backends, &[]));
            let chosen = |node: &mut Node, port: u16, flags: u8| {
                let client = at(node.client_ip(family), port);
                look(&node.client_sends(&tcp(client, front, flags)).packet).dst
            };
            let mut counts = BTreeMap::new();
            for port in 0..300 {
                let first = chosen(node, 20_000 + port, SYN);
                assert_eq!(chosen(node, 20_000 + port, ACK), first, "sticks");
                *counts.entry(first).or_insert(0) += 1;
            }
            assert_eq!(counts.len(), 3);
            assert!(counts.values().all(|count| (60..=140).contains(count)), "{counts:?}");
            let on = |counts: &mut Vec<u16>, wanted: SocketAddr, node: &mut Node| {
                counts.extend((0..300).map(|i| 20_000 + i).filter(|port| chosen(node, *port, ACK) == wanted).take(2));
            };
            let mut flows = Vec::new();
            on(&mut flows, backends[0], node);
            // Draining: known flows stay, a new connection on the same tuple goes elsewhere.
            serve(node, &mut services, &frontend(front, &backends[1..], &backends[..1]));
            assert_eq!(chosen(node, flows[0], ACK), backends[0]);
            assert_ne!(chosen(node, flows[1], SYN), backends[0]);
            assert!((0..100).all(|port| chosen(node, 30_000 + port, SYN) != backends[0]), "no new flow");
            // Gone: the flow is given another backend.
            serve(node, &mut services, &frontend(front, &backends[1..], &[]));
            assert_ne!(chosen(node, flows[0], ACK), backends[0]);
            // None at all.
            serve(node, &mut services, &frontend(front, &[], &[]));
            node.dropped(158, |node| {
                let client = at(node.client_ip(family), 31_000);
                node.client_sends(&tcp(client, front, SYN))
            });
            // No service any more: an address like any other.
            let ops = services.remove(frontend(front, &[], &[]).addr);
            node.apply(ops);
            let packet = tcp(at(node.client_ip(family), 31_001), front, SYN);
            assert_eq!(node.client_sends(&packet).packet, frame(&packet));
        }
    });
}

#[test]
fn a_closed_flow_is_balanced_anew() {
    on_node("closed service flow", |node| {
        let mut services = Services::default();
        let front = at(vip(0), 80);
        let backends: Vec<SocketAddr> = (0..32).map(|i| at(remote_ip(0), 8000 + i)).collect();
        serve(node, &mut services, &frontend(front, &backends, &[]));
        let client = at(node.client_ip(0), 40_000);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            seen.insert(look(&node.client_sends(&tcp(client, front, SYN)).packet).dst);
            node.client_sends(&tcp(client, front, ACK | FIN));
        }
        assert!(seen.len() > 5, "the same source port is balanced anew: {seen:?}");
    });
}
