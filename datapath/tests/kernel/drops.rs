//! Each reason for which the programs drop, and what they let pass on purpose.

use crate::{
    fixture::{CLIENT, FAMILIES, PASS, SERVER, V6, at, on_node, on_node_with, remote_ip, tcp_port, world_ip},
    packet::{ACK, SYN, echo, fix_header, frame, ip, solicitation, tcp, udp, unreachable},
};
use datapath::Program;
use model::{Direction, PortProto, Protocol};
use std::net::IpAddr;

#[test]
fn a_pod_may_use_its_own_addresses_only() {
    on_node("source", |node| {
        for family in FAMILIES {
            let forged = tcp(at(node.server_ip(family), 1), at(remote_ip(family), 80), SYN);
            node.dropped(132, |node| node.client_sends(&forged));
        }
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        // A host without an address, and on its own link, speaks as every host does.
        for (src, dst, action) in [
            ("fe80::1", "fe80::2", Some(PASS)),
            ("::", "ff02::1:ff00:b", Some(PASS)),
            ("fe80::1", "ff02::2", Some(PASS)),
            ("fe80::1", "fd01::12", None),
            ("::", "fd01::12", None),
        ] {
            let packet = solicitation(ip(src), ip(dst));
            match action {
                Some(action) => assert_eq!(node.client_sends(&packet).action, action, "{src} {dst}"),
                None => node.dropped(132, |node| node.client_sends(&packet)),
            }
        }
        // Neighbour discovery from its own address: to the router, to the link, not to other pods.
        let own = node.client_ip(V6);
        assert_eq!(node.client_sends(&solicitation(own, ip("fd01::1"))).action, PASS);
        assert_eq!(node.client_sends(&solicitation(own, ip("ff02::1:ff00:1"))).action, PASS);
        node.dropped(133, |node| node.client_sends(&solicitation(own, ip("fd01::12"))));
    });
}

#[test]
fn malformed_packets_are_dropped_with_their_reason() {
    on_node("malformed", |node| {
        let (client, veth) = (node.client.clone(), node.client.host_ifindex);
        let src = IpAddr::V4(client.ipv4.unwrap());
        let base = tcp(at(src, 1), at(remote_ip(0), 80), SYN);
        let mut version = base.clone();
        version[0] = 0x55;
        node.dropped(134, |node| node.run(Program::LxcIn, &with_type(&version, [8, 0]), veth, 0));
        let mut short_header = base.clone();
        short_header[0] = 0x44;
        node.dropped(134, |node| node.client_sends(&short_header));
        node.dropped(135, |node| node.client_sends(&base[..30]));
        node.dropped(137, |node| node.client_sends(&ip(src, remote_ip(0), 47, &[0; 20])));
        node.dropped(139, |node| node.run(Program::LxcIn, &with_type(&base, [0x88, 0x47]), veth, 0));
        node.dropped(166, |node| node.run(Program::LxcIn, &with_type(&base, [0x00, 0x40]), veth, 0));
        assert_eq!(node.run(Program::LxcIn, &with_type(&base, [0x08, 0x06]), veth, 0).action, PASS, "ARP");
        // A truncated extension header, and a chain that ends in nothing.
        let own6 = node.client_ip(V6);
        node.dropped(156, |node| node.client_sends(&ip(own6, remote_ip(V6), 0, &[6])));
        node.dropped(156, |node| node.client_sends(&ip(own6, remote_ip(V6), 59, &[])));
        // Options and extension headers are walked.
        let mut options = vec![6, 0, 1, 4, 0, 0, 0, 0];
        options.extend(&tcp(at(own6, 1), at(remote_ip(V6), 80), SYN)[40..]);
        assert_ne!(node.client_sends(&ip(own6, remote_ip(V6), 0, &options)).action, 2);
        let mut with_options = base[..20].to_vec();
        with_options.extend([1, 1, 1, 0]);
        with_options.extend(&base[20..]);
        with_options[0] = 0x46;
        assert_ne!(node.client_sends(&with_options).action, 2);
    });
}

fn with_type(packet: &[u8], ethertype: [u8; 2]) -> Vec<u8> {
    let mut frame = frame(packet);
    frame[12..14].copy_from_slice(&ethertype);
    frame
}

#[test]
fn the_first_fragment_passes_and_later_ones_do_not() {
    on_node("fragments", |node| {
        let mut first = udp(at(node.client_ip(0), 1), at(remote_ip(0), 53));
        first[6] = 0x20;
        fix_header(&mut first);
        assert_ne!(node.client_sends(&first).action, 2);
        let mut later = first.clone();
        later[7] = 8;
        fix_header(&mut later);
        node.dropped(157, |node| node.client_sends(&later));
        let (src, dst) = (node.client_ip(V6), remote_ip(V6));
        let datagram = udp(at(src, 1), at(dst, 53));
        let fragment = |offset: u8| {
            let mut payload = vec![17, 0, 0, offset | 1, 0, 0, 0, 7];
            payload.extend(&datagram[40..]);
            ip(src, dst, 44, &payload)
        };
        assert_ne!(node.client_sends(&fragment(0)).action, 2);
        node.dropped(157, |node| node.client_sends(&fragment(8)));
    });
}

#[test]
fn guards_of_the_node() {
    on_node("guards", |node| {
        for family in FAMILIES {
            let src = node.client_ip(family);
            node.dropped(170, |node| node.client_sends(&udp(at(src, 1), at(world_ip(family), 8472))));
            // No hop left.
            node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(80));
            let mut last = tcp(at(src, 1), at(node.server_ip(family), 80), SYN);
            if family == 0 {
                last[8] = 1;
                fix_header(&mut last);
            } else {
                last[7] = 1;
            }
            node.dropped(196, |node| node.client_sends(&last));
        }
        // A locked endpoint neither sends nor receives; policy that is not there denies.
        let (server, client) = (node.server.clone(), at(node.client_ip(0), 1));
        let to = tcp(client, at(node.server_ip(0), 80), SYN);
        node.set_endpoint(&server, true);
        node.dropped(203, |node| node.client_sends(&to));
        node.dropped(203, |node| node.server_sends(&tcp(at(node.server_ip(0), 80), client, ACK)));
        node.set_endpoint(&server, false);
        node.apply(vec![datapath::plan::Op::DropSet(SERVER)]);
        node.dropped(165, |node| node.client_sends(&to));
        // An interface that nobody announced.
        let frame = frame(&to);
        let loopback = 1;
        node.dropped(203, |node| node.run(Program::LxcIn, &frame, loopback, 0));
        // Without a tunnel there is no tunnel key.
        let vxlan = node.datapath.devices().vxlan;
        node.dropped(147, |node| node.run(Program::OverlayIn, &frame, vxlan, 0));
    });
}

#[test]
fn precedence_decides_between_an_identity_and_everybody() {
    on_node("precedence", |node| {
        let packet = tcp(at(node.client_ip(0), 1), at(node.server_ip(0), 80), SYN);
        let any = PortProto::new(0, Protocol::Any);
        node.allow(SERVER, Direction::Ingress, 0, any);
        assert_ne!(node.client_sends(&packet).action, 2);
        node.rule(SERVER, Direction::Ingress, CLIENT, tcp_port(80), true, 255);
        node.dropped(181, |node| node.client_sends(&packet));
        // A deny for everybody beats an allow for one.
        node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(80));
        node.rule(SERVER, Direction::Ingress, 0, any, true, 255);
        node.dropped(181, |node| node.client_sends(&packet));
        node.revoke(SERVER, Direction::Ingress, 0, any);
        assert_ne!(node.client_sends(&packet).action, 2);
        // Equal precedence: the longer L4 prefix, then the identity.
        node.rule(SERVER, Direction::Ingress, CLIENT, any, true, 255);
        node.revoke(SERVER, Direction::Ingress, CLIENT, tcp_port(80));
        node.rule(SERVER, Direction::Ingress, 0, tcp_port(80), false, 255);
        assert_ne!(node.client_sends(&packet).action, 2);
    });
}

#[test]
fn audit_mode_reports_and_lets_pass() {
    on_node_with(
        "audit",
        |config| config.audit = true,
        |node| {
            let packet = tcp(at(node.client_ip(0), 1), at(node.server_ip(0), 80), SYN);
            assert_eq!(node.client_sends(&packet).action, 7);
            assert_eq!(node.counted(133), 0);
        },
    );
}

#[test]
fn errors_about_a_known_flow_need_no_rule() {
    on_node("related", |node| {
        for family in FAMILIES {
            let (client, server) = (at(node.client_ip(family), 40_000), at(node.server_ip(family), 8000));
            node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
            let syn = tcp(client, server, SYN);
            assert_eq!(node.client_sends(&syn).action, 7);
            // The server's "unreachable" about the client's packet goes back to it.
            assert_eq!(node.server_sends(&unreachable(server.ip(), client.ip(), &syn)).action, 7);
            // About a packet that never was, it needs what it has not: a rule.
            let other = tcp(at(client.ip(), 40_001), server, SYN);
            node.dropped(133, |node| node.server_sends(&unreachable(server.ip(), client.ip(), &other)));
            // The world may report on what the pod sent there.
            let out = tcp(client, at(world_ip(family), 443), SYN);
            assert_eq!(node.client_sends(&out).action, PASS);
            let error = frame(&unreachable(world_ip(family), client.ip(), &out));
            let veth = node.client.host_ifindex;
            assert_eq!(node.run(Program::LxcOut, &error, veth, 0).action, PASS);
            let error = frame(&unreachable(world_ip(family), client.ip(), &other));
            node.dropped(133, |node| node.run(Program::LxcOut, &error, veth, 0));
            let _ = echo(client.ip(), server.ip(), true, 1);
        }
    });
}
