//! Against the real kernel, in namespaces of our own. Needs root: without it the tests say so and
//! pass, unless CI=true, where they fail.

#![expect(clippy::unwrap_used, reason = "a test")]

use ipnet::IpNet;
use netlink::{
    LinkKind, Mac, Namespace, Netlink, PeerSpec, Route, VethSpec, VxlanSpec, read_sysctl, write_sysctl,
    write_sysctl_if_exists,
};
use std::net::IpAddr;

/// Two namespaces that vanish with the value.
struct Pair {
    names: [String; 2],
    a: Namespace,
    b: Namespace,
}

impl Pair {
    fn new(test: &str) -> Option<Self> {
        let quick = std::env::var_os("CAUSEWAY_TEST_QUICK").is_some();
        if quick || !nix::unistd::geteuid().is_root() {
            assert!(quick || std::env::var("CI").as_deref() != Ok("true"), "{test} needs root");
            println!("SKIP netlink {test}: needs root");
            return None;
        }
        let names = ["a", "b"].map(|end| format!("nl-{test}-{end}-{}", std::process::id()));
        let a = Namespace::create(&names[0]).unwrap();
        let b = Namespace::create(&names[1]).unwrap();
        Some(Self { names, a, b })
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Namespace::delete_if_exists(name);
        }
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn veth_across_namespaces_carries_names_macs_and_mtu() {
    let Some(pair) = Pair::new("veth") else { return };
    let (mac_a, mac_b) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let spec = VethSpec {
        host: PeerSpec { name: "lxc0", mac: Some(mac_a), mtu: Some(1450), namespace: None },
        peer: PeerSpec { name: "eth0", mac: Some(mac_b), mtu: Some(1450), namespace: Some(&pair.b) },
    };
    let host = pair
        .a
        .enter(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth(&spec).unwrap();
            assert!(nl.create_veth(&spec).unwrap_err().is_exists());
            nl.ensure_veth(&spec).unwrap();
            let link = nl.link("lxc0").unwrap();
            assert!(!link.up);
            nl.set_up(link.index).unwrap();
            nl.set_mtu(link.index, 1400).unwrap();
            nl.set_noarp(link.index).unwrap();
            nl.link("lxc0").unwrap()
        })
        .unwrap();
    assert_eq!((host.kind, host.mac, host.mtu, host.up, host.arp), (LinkKind::Veth, Some(mac_a), 1400, true, false));
    let peer = pair.b.enter(|| Netlink::open().unwrap().link("eth0").unwrap()).unwrap();
    assert_eq!((peer.mac, peer.mtu, peer.up), (Some(mac_b), 1450, false));
    assert_eq!(host.peer, Some(peer.index));
    pair.a
        .enter(|| {
            let mut nl = Netlink::open().unwrap();
            assert!(nl.delete_link_if_exists("lxc0").unwrap());
            assert!(!nl.delete_link_if_exists("lxc0").unwrap());
            assert_eq!(nl.find_link("lxc0").unwrap(), None);
            assert_eq!(nl.link("lxc0").unwrap_err().to_string(), "no link lxc0");
        })
        .unwrap();
    assert_eq!(pair.b.enter(|| Netlink::open().unwrap().find_link("eth0").unwrap()).unwrap(), None);
}

#[test]
fn vxlan_bridge_and_renames() {
    let Some(pair) = Pair::new("kinds") else { return };
    pair.a
        .enter(|| {
            let mut nl = Netlink::open().unwrap();
            nl.ensure_vxlan(&VxlanSpec { name: "vx", port: 8472, mtu: None, mac: None }).unwrap();
            assert_eq!(nl.link("vx").unwrap().kind, LinkKind::Vxlan { external: true, port: 8472 });
            nl.ensure_bridge("br").unwrap();
            nl.ensure_bridge("br").unwrap();
            let bridge = nl.link("br").unwrap();
            assert_eq!(bridge.kind, LinkKind::Bridge);
            nl.create_veth(&VethSpec {
                host: PeerSpec { name: "p0", ..PeerSpec::default() },
                peer: PeerSpec { name: "p1", ..PeerSpec::default() },
            })
            .unwrap();
            let port = nl.link("p0").unwrap().index;
            nl.set_master(port, bridge.index).unwrap();
            assert_eq!(nl.link("p0").unwrap().master, Some(bridge.index));
            let other = nl.link("p1").unwrap().index;
            nl.rename(other, "renamed").unwrap();
            nl.set_mac(other, Mac([2, 0, 0, 0, 0, 9])).unwrap();
            nl.set_namespace(other, &pair.b).unwrap();
            let names: Vec<String> = nl.links().unwrap().into_iter().map(|link| link.name).collect();
            assert!(names.contains(&"p0".to_owned()) && !names.contains(&"renamed".to_owned()), "{names:?}");
        })
        .unwrap();
    let moved = pair.b.enter(|| Netlink::open().unwrap().link("renamed").unwrap()).unwrap();
    assert_eq!(moved.mac, Some(Mac([2, 0, 0, 0, 0, 9])));
}

#[test]
fn addresses_routes_and_neighbours_are_idempotent() {
    let Some(pair) = Pair::new("routes") else { return };
    pair.a
        .enter(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth(&VethSpec {
                host: PeerSpec { name: "h", ..PeerSpec::default() },
                peer: PeerSpec { name: "p", ..PeerSpec::default() },
            })
            .unwrap();
            let link = nl.link("h").unwrap().index;
            nl.set_up(link).unwrap();
            let peer = nl.link("p").unwrap().index;
            nl.set_up(peer).unwrap();
            for (own, gateway, remote) in
                [("10.0.0.5/32", "10.0.0.1", "10.9.0.0/16"), ("fd00::5/128", "fd00::1", "fd09::/64")]
            {
                nl.ensure_address(link, net(own)).unwrap();
                nl.ensure_address(link, net(own)).unwrap();
                assert!(nl.addresses(Some(link)).unwrap().contains(&(link, net(own))));
                nl.ensure_neighbour(link, ip(gateway), Mac([2, 0, 0, 0, 0, 7])).unwrap();
                nl.ensure_neighbour(link, ip(gateway), Mac([2, 0, 0, 0, 0, 8])).unwrap();
                assert!(nl.neighbours(link).unwrap().contains(&(ip(gateway), Mac([2, 0, 0, 0, 0, 8]))));
                let to_gateway = Route::on_link(IpNet::from(ip(gateway)), link);
                nl.ensure_route(&to_gateway).unwrap();
                let mut route = Route::via(net(remote), link, ip(gateway));
                route.mtu = Some(1450);
                route.source = Some(net(own).addr());
                nl.ensure_route(&route).unwrap();
                nl.ensure_route(&route).unwrap();
                let found = nl.routes(Some(link)).unwrap();
                assert_eq!(found.iter().filter(|found| **found == route).count(), 1, "{found:#?}");
                route.mtu = Some(1400);
                nl.ensure_route(&route).unwrap();
                assert!(nl.routes(Some(link)).unwrap().contains(&route));
                assert!(nl.delete_route_if_exists(route.destination, link).unwrap());
                assert!(!nl.delete_route_if_exists(route.destination, link).unwrap());
                assert!(nl.delete_neighbour_if_exists(link, ip(gateway)).unwrap());
                assert!(!nl.delete_neighbour_if_exists(link, ip(gateway)).unwrap());
                assert!(nl.delete_address_if_exists(link, net(own)).unwrap());
                assert!(!nl.delete_address_if_exists(link, net(own)).unwrap());
            }
            let mut onlink = Route::via(net("10.8.0.0/16"), link, ip("192.168.99.1"));
            onlink.onlink = true;
            nl.ensure_route(&onlink).unwrap();
            assert!(nl.routes(Some(link)).unwrap().contains(&onlink));
            let error = nl.set_up(9999).unwrap_err();
            assert!(error.is_not_found());
            assert_eq!(error.to_string(), "bring up link 9999");
        })
        .unwrap();
}

#[test]
fn namespaces_are_kept_by_name_and_sysctls_are_theirs() {
    let Some(pair) = Pair::new("ns") else { return };
    assert!(Namespace::create(&pair.names[0]).unwrap_err().is_exists());
    let reopened = Namespace::open(&pair.names[0]).unwrap();
    reopened.enter(|| write_sysctl("net/ipv4/ip_forward", "1")).unwrap().unwrap();
    assert_eq!(pair.a.enter(|| read_sysctl("net/ipv4/ip_forward")).unwrap().unwrap(), "1");
    assert_eq!(pair.b.enter(|| read_sysctl("net/ipv4/ip_forward")).unwrap().unwrap(), "0");
    assert!(!write_sysctl_if_exists("net/ipv4/conf/no-such-link/rp_filter", "0").unwrap());
    assert!(Namespace::delete_if_exists(&pair.names[1]).unwrap());
    assert!(!Namespace::delete_if_exists(&pair.names[1]).unwrap());
    assert!(Namespace::open(&pair.names[1]).unwrap_err().is_not_found());
}
