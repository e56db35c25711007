//! The life of an entry: states, expiry, reopening, collection.

use crate::{
    fixture::{CLIENT, FAMILIES, Node, REDIRECT, SERVER, at, on_node, tcp_port},
    packet::{ACK, FIN, RST, SYN, tcp, udp},
};
use datapath::conntrack::{self, Flow, Scope};
use ebpf_abi::CtFlags;
use model::{Direction, PortProto, Protocol};
use std::net::SocketAddr;

/// The receiving side's entry.
fn entry(node: &mut Node, client: SocketAddr, server: SocketAddr) -> Option<Flow> {
    node.flows().into_iter().find(|flow| flow.scope == Scope::In && flow.source == client && flow.destination == server)
}

#[test]
fn a_tcp_flow_lives_as_long_as_its_state_says() {
    on_node("tcp states", |node| {
        node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
        for family in FAMILIES {
            let (client, server) = (at(node.client_ip(family), 40_000), at(node.server_ip(family), 8000));
            let remaining = |node: &mut Node| entry(node, client, server).unwrap().remaining_secs;
            node.client_sends(&tcp(client, server, SYN));
            assert!((50..=62).contains(&remaining(node)), "SYN {}", remaining(node));
            node.server_sends(&tcp(server, client, SYN | ACK));
            assert!(remaining(node) <= 62, "still opening");
            node.client_sends(&tcp(client, server, ACK));
            assert!((7900..=8002).contains(&remaining(node)), "established {}", remaining(node));
            node.client_sends(&tcp(client, server, ACK | FIN));
            assert!(remaining(node) > 7900, "half closed");
            node.server_sends(&tcp(server, client, ACK | FIN));
            assert!(remaining(node) <= 12, "closed {}", remaining(node));
            // A straggler does not revive it.
            node.client_sends(&tcp(client, server, ACK));
            assert!(remaining(node) <= 12);
            // A SYN does: policy is asked again.
            assert_eq!(node.client_sends(&tcp(client, server, SYN)).action, REDIRECT);
            assert!(remaining(node) > 12);
            node.client_sends(&tcp(client, server, RST));
            assert!(remaining(node) <= 12, "reset");
            let flow = entry(node, client, server).unwrap();
            assert_eq!((flow.source_identity, flow.packets, flow.closing), (CLIENT, 2, true));
        }
    });
}

#[test]
fn an_expired_entry_is_as_good_as_none() {
    on_node("expiry", |node| {
        node.allow(SERVER, Direction::Ingress, CLIENT, PortProto::new(53, Protocol::Udp));
        for family in FAMILIES {
            let (client, server) = (at(node.client_ip(family), 1000), at(node.server_ip(family), 53));
            assert_eq!(node.client_sends(&udp(client, server)).action, REDIRECT);
            assert_eq!(node.server_sends(&udp(server, client)).action, REDIRECT);
            node.age_flows(|entry| entry.lifetime = 1);
            node.dropped(133, |node| node.server_sends(&udp(server, client)));
            assert!(entry(node, client, server).unwrap().remaining_secs < 0);
            assert_eq!(node.client_sends(&udp(client, server)).action, REDIRECT);
            assert_eq!(node.server_sends(&udp(server, client)).action, REDIRECT);
        }
    });
}

#[test]
fn a_port_used_in_the_other_direction_is_a_new_flow() {
    on_node("reversed", |node| {
        node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
        let (client, server) = (at(node.client_ip(0), 40_000), at(node.server_ip(0), 8000));
        node.client_sends(&tcp(client, server, SYN));
        node.client_sends(&tcp(client, server, RST));
        // The server opens from the same port: it answers nothing, so the client's policy decides.
        node.dropped(133, |node| node.server_sends(&tcp(server, client, SYN)));
        node.allow(CLIENT, Direction::Ingress, SERVER, tcp_port(40_000));
        assert_eq!(node.server_sends(&tcp(server, client, SYN)).action, REDIRECT);
        assert_eq!(node.client_sends(&tcp(client, server, SYN | ACK)).action, REDIRECT);
    });
}

#[test]
fn flows_are_collected_forgotten_and_flushed() {
    on_node("gc", |node| {
        node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
        for family in FAMILIES {
            let (client, server) = (at(node.client_ip(family), 40_000), at(node.server_ip(family), 8000));
            node.client_sends(&tcp(client, server, SYN));
        }
        assert_eq!(node.flows().len(), 4);
        let now = conntrack::now().unwrap();
        assert_eq!(conntrack::collect(&mut node.kernel, now).unwrap().deleted, 0);
        node.age_flows(|entry| {
            if entry.flags & CtFlags::CLOSED == 0 && entry.src_identity == CLIENT {
                entry.lifetime = 1;
            }
        });
        assert_eq!(conntrack::collect(&mut node.kernel, now).unwrap().deleted, 4);
        for family in FAMILIES {
            let (client, server) = (at(node.client_ip(family), 40_000), at(node.server_ip(family), 8000));
            node.client_sends(&tcp(client, server, SYN));
        }
        let gone = [node.client_ip(0)];
        assert_eq!(conntrack::forget(&mut node.kernel, &gone).unwrap(), 2);
        assert_eq!(conntrack::flush(&mut node.kernel).unwrap(), 2);
    });
}

#[test]
fn a_verdict_is_remembered_only_while_policy_stands() {
    on_node("verdict", |node| {
        node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
        let (client, server) = (at(node.client_ip(0), 40_000), at(node.server_ip(0), 8000));
        assert_eq!(node.client_sends(&tcp(client, server, SYN)).action, REDIRECT);
        for round in 0..3 {
            assert_eq!(node.client_sends(&tcp(client, server, ACK)).action, REDIRECT, "{round}");
            node.revoke(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
            node.dropped(133, |node| node.client_sends(&tcp(client, server, ACK)));
            node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
        }
        // A relabelled receiver brings its own set.
        let mut relabelled = node.server.clone();
        relabelled.identity = Some(model::NumericIdentity::new(1003));
        node.apply(vec![datapath::plan::Op::CreateSet(1003)]);
        node.set_endpoint(&relabelled, false);
        node.dropped(133, |node| node.client_sends(&tcp(client, server, ACK)));
        // So does a sender under another identity.
        node.set_endpoint(&node.server.clone(), false);
        assert_eq!(node.client_sends(&tcp(client, server, ACK)).action, REDIRECT);
        let mut relabelled = node.client.clone();
        relabelled.identity = Some(model::NumericIdentity::new(1003));
        node.allow(1003, Direction::Egress, 0, PortProto::new(0, Protocol::Any));
        node.set_endpoint(&relabelled, false);
        node.dropped(133, |node| node.client_sends(&tcp(client, server, ACK)));
    });
}
