//! Two nodes with a pod each, over a real VXLAN: tables in, traffic out.

use crate::fixture::{Cleanup, V4, V6, config, endpoint, ip_of, may_run};
use datapath::{Datapath, Reconciler, Tables, kernel::Pinned};
use model::{Direction, NumericIdentity, PortProto, Prefix, Protocol, Source};
use netlink::{Namespace, Netlink, PeerSpec, Route, VethSpec, write_sysctl};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv, sendto, setsockopt,
    sockopt::ReceiveTimeout,
};
use statedb::Writer;
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    sync::Arc,
    time::Duration,
};
use tables::{Endpoint, Frontend, IpcacheRow, Origin, PolicyKey, PolicyMapRow, PolicyProgress, Realized};

const WAIT: Duration = Duration::from_millis(700);

/// The tables that drive a node.
pub(crate) struct Intent {
    pub(crate) endpoints: Writer<Endpoint>,
    pub(crate) ipcache: Writer<IpcacheRow>,
    pub(crate) policy: Writer<PolicyMapRow>,
    pub(crate) progress: Writer<PolicyProgress>,
    pub(crate) frontends: Writer<Frontend>,
    pub(crate) realized: Writer<Realized>,
    pub(crate) tables: Tables,
}

impl Intent {
    pub(crate) fn new() -> Self {
        let (endpoints, endpoints_reader) = statedb::table();
        let (ipcache, ipcache_reader) = statedb::table();
        let (policy, policy_reader) = statedb::table();
        let (progress, progress_reader) = statedb::table();
        let (frontends, frontends_reader) = statedb::table();
        let (realized, _) = statedb::table();
        let tables = Tables {
            endpoints: endpoints_reader,
            ipcache: ipcache_reader,
            policy: policy_reader,
            progress: progress_reader,
            frontends: frontends_reader,
        };
        Self { endpoints, ipcache, policy, progress, frontends, realized, tables }
    }

    /// Policy says that it has seen everything.
    pub(crate) fn policy_is_current(&self) {
        self.progress.upsert(PolicyProgress {
            endpoints: self.tables.endpoints.snapshot().revision(),
            policy_map: self.tables.policy.snapshot().revision(),
            ..PolicyProgress::default()
        });
    }

    pub(crate) fn allow(&self, set: u32, direction: Direction, remote: u32, port: PortProto) {
        let key = policy_key(set, direction, remote, port);
        self.policy.upsert(PolicyMapRow { key, deny: false, precedence: 1, derived_from: Arc::from([]) });
    }

    pub(crate) fn revoke(&self, set: u32, direction: Direction, remote: u32, port: PortProto) {
        self.policy.delete(&policy_key(set, direction, remote, port));
    }

    pub(crate) fn announce(&self, prefix: Prefix, identity: u32, node: Option<Ipv4Addr>) {
        self.ipcache.upsert(IpcacheRow {
            prefix,
            identity: NumericIdentity::new(identity),
            tunnel_endpoint: node.map(IpAddr::V4),
            encrypt_key: 0,
            policy_revision: self.tables.policy.snapshot().revision(),
            origin: Origin::new(Source::Local, "east".parse().unwrap()),
        });
    }
}

fn policy_key(set: u32, direction: Direction, remote: u32, port: PortProto) -> PolicyKey {
    PolicyKey { set: NumericIdentity::new(set), direction, remote: NumericIdentity::new(remote), port }
}

struct ClusterNode {
    _cleanup: Cleanup,
    _pod_cleanup: Cleanup,
    namespace: Namespace,
    pod: Namespace,
    endpoint: Endpoint,
    address: Ipv4Addr,
    routers: [IpAddr; 2],
    intent: Intent,
    datapath: Datapath,
    reconciler: Reconciler<Pinned>,
}

impl ClusterNode {
    fn round(&mut self) {
        let reconciler = &mut self.reconciler;
        self.namespace.enter(move || reconciler.round().map(drop).unwrap()).unwrap();
    }

    fn counted(&self, reason: u8) -> u64 {
        let mut kernel = self.datapath.kernel();
        let rows = datapath::dump::metrics(&mut kernel).unwrap();
        rows.iter().filter(|row| row.code == reason).map(|row| row.packets).sum()
    }
}

impl Drop for ClusterNode {
    fn drop(&mut self) {
        let root = self.datapath.config().bpf_root.clone();
        let _ = self.namespace.enter(|| datapath::cleanup(&root));
    }
}

/// One node: underlay end `u0`, pod in a namespace of its own, plumbed as CNI would.
fn node(number: u8, identity: u32, underlay: &Namespace) -> ClusterNode {
    let name = format!("dpc-{}-{number}", std::process::id());
    let root = std::env::temp_dir().join(format!("{name}-bpf"));
    let cleanup = Cleanup { name: name.clone(), root: root.clone() };
    let pod_cleanup = Cleanup { name: format!("{name}-pod"), root: root.with_extension("pod") };
    let namespace = Namespace::create(&name).unwrap();
    let pod = Namespace::create(&pod_cleanup.name).unwrap();
    let address = Ipv4Addr::new(192, 168, 77, number);
    underlay
        .enter(|| {
            let mut nl = Netlink::open().unwrap();
            nl.ensure_bridge("br0").unwrap();
            let port = format!("u{number}");
            nl.create_veth(&VethSpec {
                host: PeerSpec { name: &port, ..PeerSpec::default() },
                peer: PeerSpec { name: "u0", namespace: Some(&namespace), ..PeerSpec::default() },
            })
            .unwrap();
            let (bridge, port) = (nl.link("br0").unwrap().index, nl.link(&port).unwrap().index);
            nl.set_master(port, bridge).unwrap();
            nl.set_up(port).unwrap();
            nl.set_up(bridge).unwrap();
        })
        .unwrap();
    let mut config = config(root);
    let routers: [IpAddr; 2] = [Ipv4Addr::new(10, number, 0, 1).into(), format!("fd0{number}::1").parse().unwrap()];
    let (IpAddr::V4(router4), IpAddr::V6(router6)) = (routers[0], routers[1]) else { unreachable!() };
    (config.router_ipv4, config.router_ipv6) = (Some(router4), Some(router6));
    config.pod_cidrs =
        vec![format!("10.{number}.0.0/24").parse().unwrap(), format!("fd0{number}::/64").parse().unwrap()];
    let mtu = config.route_mtu();
    let (datapath, endpoint) = namespace
        .enter(|| {
            let mut nl = Netlink::open().unwrap();
            let uplink = nl.link("u0").unwrap().index;
            nl.ensure_address(uplink, format!("{address}/24").parse().unwrap()).unwrap();
            nl.set_up(uplink).unwrap();
            let datapath = Datapath::start(config).unwrap();
            nl.create_veth(&VethSpec {
                host: PeerSpec { name: "lxc1", ..PeerSpec::default() },
                peer: PeerSpec { name: "eth0", namespace: Some(&pod), ..PeerSpec::default() },
            })
            .unwrap();
            let link = nl.link("lxc1").unwrap();
            nl.set_up(link.index).unwrap();
            let mac = pod.enter(|| Netlink::open().unwrap().link("eth0").unwrap().mac.unwrap()).unwrap();
            let host_mac = link.mac.unwrap();
            (datapath, endpoint(1, identity, "lxc1", link.index, mac.0, host_mac.0, [10, number, 0, 9]))
        })
        .unwrap();
    pod.enter(|| {
        write_sysctl("net/ipv4/ping_group_range", "0\t0").unwrap();
        let mut nl = Netlink::open().unwrap();
        let link = nl.link("eth0").unwrap().index;
        nl.set_up(link).unwrap();
        for family in [V4, V6] {
            nl.ensure_address(link, ip_of(&endpoint, family).into()).unwrap();
            nl.ensure_neighbour(link, routers[family], netlink::Mac(endpoint.host_mac.0)).unwrap();
            nl.ensure_route(&Route::on_link(routers[family].into(), link)).unwrap();
            let all = ["0.0.0.0/0", "::/0"][family].parse().unwrap();
            let mut route = Route::via(all, link, routers[family]);
            route.mtu = Some(mtu);
            nl.ensure_route(&route).unwrap();
        }
    })
    .unwrap();
    let intent = Intent::new();
    intent.endpoints.upsert(endpoint.clone());
    let reconciler = Reconciler::new(datapath.kernel(), &intent.tables, intent.realized.clone());
    ClusterNode {
        _cleanup: cleanup,
        _pod_cleanup: pod_cleanup,
        namespace,
        pod,
        endpoint,
        address,
        routers,
        intent,
        datapath,
        reconciler,
    }
}

/// Each node learns its own addresses as host, the other's as remote node, and both pods.
fn introduce(nodes: &mut [ClusterNode; 2]) {
    for this in 0..2 {
        let other = 1 - this;
        for family in [V4, V6] {
            let (own, far) = (&nodes[this], &nodes[other]);
            own.intent.announce(own.routers[family].into(), 1, None);
            own.intent.announce(ip_of(&own.endpoint, family).into(), own.endpoint.identity.unwrap().get(), None);
            own.intent.announce(far.routers[family].into(), 6, Some(far.address));
            own.intent.announce(
                ip_of(&far.endpoint, family).into(),
                far.endpoint.identity.unwrap().get(),
                Some(far.address),
            );
        }
        nodes[this].intent.announce(IpAddr::V4(nodes[this].address).into(), 1, None);
        nodes[this].intent.announce(IpAddr::V4(nodes[other].address).into(), 6, None);
        // What the driver does with the table of nodes.
        let routes: Vec<(Prefix, usize)> =
            nodes[other].datapath.config().pod_cidrs.iter().map(|cidr| (*cidr, usize::from(!cidr.is_ipv4()))).collect();
        let node = &nodes[this];
        node.namespace
            .enter(|| {
                let mut nl = Netlink::open().unwrap();
                for (cidr, _) in routes {
                    let cidr = cidr.to_string().parse().unwrap();
                    let route =
                        datapath::devices::pod_route(node.datapath.config(), node.datapath.devices().host, cidr);
                    nl.ensure_route(&route).unwrap();
                }
            })
            .unwrap();
    }
}

fn pings(from: &Namespace, to: IpAddr) -> bool {
    from.enter(|| {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let proto = if to.is_ipv4() { SockProtocol::Icmp } else { SockProtocol::IcmpV6 };
        let socket = nix::sys::socket::socket(family, SockType::Datagram, SockFlag::empty(), proto).unwrap();
        setsockopt(&socket, ReceiveTimeout, &nix::sys::time::TimeVal::new(0, 700_000)).unwrap();
        let echo = [if to.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 0, 0, 0, 1, b'h', b'i'];
        let sent = match to {
            IpAddr::V4(ip) => {
                let to = SockaddrIn::from(SocketAddrV4::new(ip, 0));
                sendto(socket.as_raw_fd(), &echo, &to, MsgFlags::empty())
            }
            IpAddr::V6(ip) => {
                let to = SockaddrIn6::from(SocketAddrV6::new(ip, 0, 0, 0));
                sendto(socket.as_raw_fd(), &echo, &to, MsgFlags::empty())
            }
        };
        let mut answer = [0; 64];
        sent.is_ok() && recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).is_ok()
    })
    .unwrap()
}

/// A megabyte there and back.
fn transfers(client: &Namespace, server: &Namespace, to: SocketAddr) -> bool {
    let listener = server.enter(|| TcpListener::bind(to).unwrap()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            listener.set_nonblocking(true).unwrap();
            let until = std::time::Instant::now() + WAIT + WAIT;
            while std::time::Instant::now() < until {
                let Ok((mut stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(WAIT)).unwrap();
                let mut data = vec![0; 1 << 20];
                if stream.read_exact(&mut data).is_ok() {
                    let _ = stream.write_all(&data);
                }
                return;
            }
        });
        client
            .enter(|| {
                let Ok(mut stream) = TcpStream::connect_timeout(&to, WAIT) else { return false };
                stream.set_read_timeout(Some(WAIT)).unwrap();
                let data: Vec<u8> = (0..1u32 << 20).map(|i| (i * 7) as u8).collect();
                let mut back = vec![0; data.len()];
                stream.write_all(&data).is_ok() && stream.read_exact(&mut back).is_ok() && back == data
            })
            .unwrap()
    })
}

#[test]
fn pods_and_hosts_of_two_nodes_talk_as_policy_allows() {
    if !may_run("cluster") {
        return;
    }
    let underlay_name = format!("dpc-{}-underlay", std::process::id());
    let _underlay_cleanup =
        Cleanup { name: underlay_name.clone(), root: std::env::temp_dir().join(format!("{underlay_name}-bpf")) };
    let underlay = Namespace::create(&underlay_name).unwrap();
    let mut nodes = [node(1, 1001, &underlay), node(2, 2001, &underlay)];
    introduce(&mut nodes);
    let any = PortProto::new(0, Protocol::Any);
    let web = PortProto::new(8000, Protocol::Tcp);
    for node in &nodes {
        let identity = node.endpoint.identity.unwrap().get();
        node.intent.allow(identity, Direction::Egress, 0, any);
    }
    nodes[0].round();
    assert!(nodes[0].intent.realized.reader().snapshot().is_empty(), "policy has not seen the endpoint yet");
    nodes.iter_mut().for_each(|node| {
        node.intent.policy_is_current();
        node.round();
    });
    assert_eq!(nodes[0].intent.realized.reader().snapshot().len(), 1);
    for family in [V4, V6] {
        let far = ip_of(&nodes[1].endpoint, family);
        let to = SocketAddr::new(far, 8000);
        let denied = nodes[1].counted(133);
        assert!(!pings(&nodes[0].pod, far) && !transfers(&nodes[0].pod, &nodes[1].pod, to));
        assert!(nodes[1].counted(133) > denied);
        let icmp = PortProto::new(0, if family == V4 { Protocol::Icmp } else { Protocol::Icmpv6 });
        nodes[1].intent.allow(2001, Direction::Ingress, 1001, web);
        nodes[1].intent.allow(2001, Direction::Ingress, 1001, icmp);
        nodes[1].round();
        assert!(pings(&nodes[0].pod, far), "ping {far}");
        assert!(transfers(&nodes[0].pod, &nodes[1].pod, to), "TCP {to}");
        // The other node's host is identity 6, the own one 1; neither is allowed yet.
        assert!(!transfers(&nodes[0].namespace, &nodes[1].pod, to));
        assert!(!transfers(&nodes[1].namespace, &nodes[1].pod, to));
        for host in [1, 6] {
            nodes[1].intent.allow(2001, Direction::Ingress, host, web);
        }
        nodes[1].round();
        assert!(transfers(&nodes[0].namespace, &nodes[1].pod, to), "remote host to pod {to}");
        assert!(transfers(&nodes[1].namespace, &nodes[1].pod, to), "own host to pod {to}");
        // Pods reach routers, their own through the stack and the other's through the overlay.
        for router in 0..2 {
            let to = SocketAddr::new(nodes[router].routers[family], 9000);
            assert!(transfers(&nodes[0].pod, &nodes[router].namespace, to), "pod to router {to}");
        }
        for (remote, port) in [(1001, web), (1001, icmp), (1, web), (6, web)] {
            nodes[1].intent.revoke(2001, Direction::Ingress, remote, port);
        }
        nodes[1].round();
        nodes[1].round();
        assert!(!pings(&nodes[0].pod, far), "revoked");
    }
    forged_identities_are_refused(&nodes);
    // A removed endpoint leaves no row, no program and no flow behind.
    nodes[0].intent.endpoints.delete(&nodes[0].endpoint.id);
    nodes[0].round();
    let mut kernel = nodes[0].datapath.kernel();
    assert_eq!(datapath::dump::endpoints(&mut kernel).unwrap(), Vec::new());
    let flows = datapath::conntrack::list(&mut kernel, datapath::conntrack::now().unwrap()).unwrap();
    let own = [ip_of(&nodes[0].endpoint, V4), ip_of(&nodes[0].endpoint, V6)];
    assert!(flows.iter().all(|flow| !own.contains(&flow.source.ip()) && !own.contains(&flow.destination.ip())));
    assert!(nodes[0].intent.realized.reader().snapshot().is_empty());
}

/// VXLAN packets with VNIs that no node may send.
fn forged_identities_are_refused(nodes: &[ClusterNode; 2]) {
    use crate::packet::{SYN, frame, tcp};
    let to = SocketAddr::new(ip_of(&nodes[1].endpoint, V4), 8000);
    for (vni, reason) in [(1u32, 171), (0, 171), (1001, 133)] {
        let mut packet = vec![8, 0, 0, 0];
        packet.extend((vni << 8).to_be_bytes());
        packet.extend(frame(&tcp(SocketAddr::new(ip_of(&nodes[0].endpoint, V4), 1234), to, SYN)));
        let before = nodes[1].counted(reason);
        nodes[0]
            .namespace
            .enter(|| {
                let socket = UdpSocket::bind((nodes[0].address, 0)).unwrap();
                socket.send_to(&packet, (nodes[1].address, 8472)).unwrap();
            })
            .unwrap();
        let arrived = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            nodes[1].counted(reason) == before + 1
        });
        assert!(arrived, "VNI {vni} is dropped with {reason}");
    }
}
