//! Each way a packet can take, for both families.

use crate::{
    fixture::{CLIENT, FAMILIES, PASS, REDIRECT, REMOTE, SERVER, at, on_node, remote_ip, tcp_port, world_ip},
    packet::{ACK, SYN, echo, frame, look, tcp, udp},
};
use datapath::Program;
use ebpf_abi::Mark;
use model::{Direction, PortProto, Protocol};

#[test]
fn local_pods_talk_when_policy_allows_and_replies_need_no_rule() {
    on_node("local", |node| {
        for family in FAMILIES {
            let (client, server) = (at(node.client_ip(family), 40_000), at(node.server_ip(family), 8000));
            let syn = tcp(client, server, SYN);
            node.dropped(133, |node| node.client_sends(&syn));
            node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
            let run = node.client_sends(&syn);
            assert_eq!(run.action, REDIRECT);
            let seen = look(&run.packet);
            assert_eq!((seen.src, seen.dst, seen.ttl), (client, server, 63));
            assert_eq!(seen.macs[..6], node.server.mac.0);
            assert_eq!(seen.macs[6..], node.server.host_mac.0);
            assert_eq!(node.server_sends(&tcp(server, client, SYN | ACK)).action, REDIRECT);
            // The client never allowed the server; a new connection the other way is refused.
            node.dropped(133, |node| node.server_sends(&tcp(at(server.ip(), 50_000), at(client.ip(), 9), SYN)));
            // Established or not, the opening side is checked on every packet.
            node.revoke(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
            node.dropped(133, |node| node.client_sends(&tcp(client, server, ACK)));
            assert_eq!(node.server_sends(&tcp(server, client, ACK)).action, REDIRECT);
        }
    });
}

#[test]
fn ping_and_udp_are_tracked_like_tcp() {
    on_node("ping", |node| {
        for family in FAMILIES {
            let (client, server) = (node.client_ip(family), node.server_ip(family));
            let icmp = if family == 0 { Protocol::Icmp } else { Protocol::Icmpv6 };
            node.dropped(133, |node| node.client_sends(&echo(client, server, true, 7)));
            node.allow(SERVER, Direction::Ingress, CLIENT, PortProto::new(0, icmp));
            assert_eq!(node.client_sends(&echo(client, server, true, 7)).action, REDIRECT);
            assert_eq!(node.server_sends(&echo(server, client, false, 7)).action, REDIRECT);
            node.dropped(133, |node| node.server_sends(&echo(server, client, true, 7)));
            node.allow(SERVER, Direction::Ingress, CLIENT, PortProto::new(53, Protocol::Udp));
            assert_eq!(node.client_sends(&udp(at(client, 1000), at(server, 53))).action, REDIRECT);
            assert_eq!(node.server_sends(&udp(at(server, 53), at(client, 1000))).action, REDIRECT);
            node.dropped(133, |node| node.server_sends(&udp(at(server, 53), at(client, 1001))));
        }
    });
}

#[test]
fn remote_pods_are_reached_through_the_overlay_untouched() {
    on_node("overlay out", |node| {
        for family in FAMILIES {
            let packet = tcp(at(node.client_ip(family), 40_000), at(remote_ip(family), 80), SYN);
            let run = node.client_sends(&packet);
            assert_eq!(run.action, REDIRECT);
            assert_eq!(run.packet, frame(&packet), "the receiving node rewrites MACs and TTL");
            let denied = PortProto::new(81, Protocol::Tcp);
            node.rule(CLIENT, Direction::Egress, REMOTE, denied, true, 255);
            node.dropped(181, |node| {
                node.client_sends(&tcp(at(node.client_ip(family), 40_000), at(remote_ip(family), 81), SYN))
            });
        }
    });
}

#[test]
fn node_and_world_are_reached_through_the_stack_with_the_identity_in_the_mark() {
    on_node("stack", |node| {
        let routers = ["10.1.0.1".parse().unwrap(), "fd01::1".parse().unwrap()];
        for family in FAMILIES {
            for dst in [routers[family], world_ip(family)] {
                let run = node.client_sends(&tcp(at(node.client_ip(family), 40_000), at(dst, 80), SYN));
                assert_eq!((run.action, run.mark), (PASS, Mark::identity(CLIENT).0), "{dst}");
            }
        }
    });
}

#[test]
fn world_is_an_identity_per_family_and_cidrs_are_found_by_prefix() {
    on_node("world identity", |node| {
        node.revoke(CLIENT, Direction::Egress, 0, PortProto::new(0, Protocol::Any));
        for (family, world) in [(0, 9), (1, 10)] {
            let packet = tcp(at(node.client_ip(family), 40_000), at(world_ip(family), 80), SYN);
            node.dropped(133, |node| node.client_sends(&packet));
            node.allow(CLIENT, Direction::Egress, world, tcp_port(80));
            assert_eq!(node.client_sends(&packet).action, PASS);
            // A CIDR takes the address out of the world, a host row out of the CIDR.
            node.announce(["203.0.113.0/24", "2001:db8::/64"][family], 16_777_217, None);
            node.dropped(133, |node| node.client_sends(&packet));
            node.announce(&world_ip(family).to_string(), world, None);
            assert_eq!(node.client_sends(&packet).action, PASS);
        }
    });
}

#[test]
fn the_host_reaches_local_pods_as_identity_1_and_remote_ones_by_overlay() {
    on_node("from host", |node| {
        let routers: [std::net::IpAddr; 2] = ["10.1.0.1".parse().unwrap(), "fd01::1".parse().unwrap()];
        let host = node.datapath.devices().host;
        for family in FAMILIES {
            let (router, server) = (at(routers[family], 40_000), at(node.server_ip(family), 8000));
            let syn = frame(&tcp(router, server, SYN));
            let run = node.run(Program::FromHost, &syn, host, 0);
            assert_eq!((run.action, run.mark), (REDIRECT, Mark::identity(1).0));
            assert_eq!(look(&run.packet).macs[..6], node.server.mac.0);
            // Then the pod's own filter, which the mark tells who sent it.
            let veth = node.server.host_ifindex;
            node.dropped(133, |node| node.run(Program::LxcOut, &syn, veth, run.mark));
            node.allow(SERVER, Direction::Ingress, 1, tcp_port(8000));
            assert_eq!(node.run(Program::LxcOut, &syn, veth, run.mark).action, PASS);
            assert_eq!(node.run(Program::LxcOut, &syn, veth, 0).action, PASS, "found by address without a mark");
            // The answer needs no rule and leaves through the stack.
            assert_eq!(node.server_sends(&tcp(server, router, SYN | ACK)).action, PASS);
            let remote = frame(&tcp(router, at(remote_ip(family), 80), SYN));
            assert_eq!(node.run(Program::FromHost, &remote, host, 0).action, REDIRECT);
            // What the world sends must be allowed as the world.
            let world = frame(&tcp(at(world_ip(family), 1), server, SYN));
            node.dropped(133, |node| node.run(Program::LxcOut, &world, veth, 0));
            // Nobody's address must not circle between the stack and this device.
            let unknown = frame(&tcp(router, at(["10.1.0.99", "fd01::99"][family].parse().unwrap(), 1), SYN));
            node.dropped(150, |node| node.run(Program::FromHost, &unknown, host, 0));
            node.revoke(SERVER, Direction::Ingress, 1, tcp_port(8000));
        }
        assert_eq!(
            node.run(Program::FromHost, &frame(&udp(at(routers[0], 1), at("224.0.0.1".parse().unwrap(), 2))), host, 0)
                .action,
            PASS
        );
    });
}

/// The mark has 24 bits for an identity, and those of ranges have 25: the first of them would read as the host's.
#[test]
fn a_range_of_the_world_is_told_by_its_address_and_never_taken_for_the_host() {
    const RANGE: u32 = (1 << 24) | 1;
    on_node("range", |node| {
        let (host, veth) = (node.datapath.devices().host, node.server.host_ifindex);
        for (family, prefix) in FAMILIES.into_iter().zip(["203.0.113.0/24", "2001:db8::/32"]) {
            node.announce(prefix, RANGE, None);
            node.allow(SERVER, Direction::Ingress, 1, tcp_port(8000));
            let (stranger, server) = (at(world_ip(family), 40_000), at(node.server_ip(family), 8000));
            let syn = frame(&tcp(stranger, server, SYN));
            let run = node.run(Program::FromHost, &syn, host, 0);
            assert_eq!(run.action, REDIRECT);
            assert_eq!(Mark(run.mark).to_identity(), None, "nothing that could be mistaken");
            node.dropped(133, |node| node.run(Program::LxcOut, &syn, veth, run.mark));
            node.allow(SERVER, Direction::Ingress, RANGE, tcp_port(8000));
            assert_eq!(node.run(Program::LxcOut, &syn, veth, run.mark).action, PASS);
            node.revoke(SERVER, Direction::Ingress, RANGE, tcp_port(8000));
            node.revoke(SERVER, Direction::Ingress, 1, tcp_port(8000));
            // A pod's own way out.
            node.revoke(CLIENT, Direction::Egress, 0, PortProto::new(0, Protocol::Any));
            let out = tcp(at(node.client_ip(family), 1), at(world_ip(family), 443), SYN);
            node.dropped(133, |node| node.client_sends(&out));
            node.allow(CLIENT, Direction::Egress, RANGE, tcp_port(443));
            assert_eq!(node.client_sends(&out).action, PASS);
            node.revoke(CLIENT, Direction::Egress, RANGE, tcp_port(443));
            node.allow(CLIENT, Direction::Egress, 0, PortProto::new(0, Protocol::Any));
        }
    });
}
