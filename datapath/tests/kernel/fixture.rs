//! A node in a namespace of its own: devices, loaded programs, two pods, and shorthands for rows.

use crate::packet::frame;
use datapath::{
    Config, Datapath, MapId, Program, TestRun, conntrack, dump,
    kernel::{Kernel, Pinned},
    plan::{Op, apply, endpoint, ipcache, policy},
    test_run,
};
use model::{Direction, EndpointId, Labels, NumericIdentity, PortProto, Protocol};
use netlink::{Namespace, Netlink, PeerSpec, VethSpec};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
};
use tables::{Endpoint, EndpointState, IpcacheRow, MacAddr, Origin, PolicyKey, PolicyMapRow};

/// Identities of the fixture.
pub(crate) const CLIENT: u32 = 1001;
pub(crate) const SERVER: u32 = 1002;
pub(crate) const REMOTE: u32 = 2001;

pub(crate) const PASS: u32 = 0;
pub(crate) const DROP: u32 = 2;
pub(crate) const REDIRECT: u32 = 7;

pub(crate) const V4: usize = 0;
pub(crate) const V6: usize = 1;
/// Both families, for loops.
pub(crate) const FAMILIES: [usize; 2] = [V4, V6];

/// Runs a test inside a fresh node; says so when it cannot.
pub(crate) fn on_node(test: &str, body: impl FnOnce(&mut Node) + Send) {
    on_node_with(test, |_| {}, body);
}

pub(crate) fn on_node_with(test: &str, adjust: impl FnOnce(&mut Config) + Send, body: impl FnOnce(&mut Node) + Send) {
    if !may_run(test) {
        return;
    }
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("dp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let cleanup = Cleanup { name: name.clone(), root: std::env::temp_dir().join(format!("{name}-bpf")) };
    let namespace = Namespace::create(&name).unwrap();
    namespace
        .enter(|| {
            let mut config = config(cleanup.root.clone());
            adjust(&mut config);
            body(&mut Node::new(config));
            datapath::cleanup(&cleanup.root).unwrap();
        })
        .unwrap();
}

/// Root and not told to be quick.
pub(crate) fn may_run(test: &str) -> bool {
    let quick = std::env::var_os("CAUSEWAY_TEST_QUICK").is_some();
    if nix::unistd::geteuid().is_root() && !quick {
        return true;
    }
    assert!(quick || std::env::var("CI").as_deref() != Ok("true"), "{test} needs root");
    println!("SKIP datapath {test}: needs root");
    false
}

/// Removes what a failed test leaves.
pub(crate) struct Cleanup {
    pub(crate) name: String,
    pub(crate) root: PathBuf,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if let Ok(namespace) = Namespace::open(&self.name) {
            let _ = namespace.enter(|| datapath::cleanup(&self.root));
        }
        let _ = Namespace::delete_if_exists(&self.name);
        let _ = std::fs::remove_dir(&self.root);
    }
}

/// Small maps: a test fills none of them.
pub(crate) fn config(bpf_root: PathBuf) -> Config {
    Config {
        router_ipv4: Some(Ipv4Addr::new(10, 1, 0, 1)),
        router_ipv6: Some("fd01::1".parse().unwrap()),
        pod_cidrs: vec!["10.1.0.0/24".parse().unwrap(), "fd01::/64".parse().unwrap()],
        conntrack_max: 4096,
        ipcache_max: 4096,
        ..Config::new(bpf_root)
    }
}

pub(crate) struct Node {
    pub(crate) datapath: Datapath,
    pub(crate) kernel: Pinned,
    pub(crate) client: Endpoint,
    pub(crate) server: Endpoint,
}

impl Node {
    /// The client may send anything; nothing but what a test allows reaches the server.
    pub(crate) fn new(config: Config) -> Self {
        let datapath = Datapath::start(config).unwrap();
        let kernel = datapath.kernel();
        let mut nl = Netlink::open().unwrap();
        let client = pod(&mut nl, 101, CLIENT, 11);
        let server = pod(&mut nl, 102, SERVER, 12);
        let mut node = Self { datapath, kernel, client, server };
        for identity in [CLIENT, SERVER] {
            node.apply(vec![Op::CreateSet(identity)]);
            node.allow(identity, Direction::Egress, 0, PortProto::new(0, Protocol::Any));
        }
        for endpoint in [node.client.clone(), node.server.clone()] {
            node.set_endpoint(&endpoint, false);
        }
        for (ip, identity, tunnel) in [
            ("10.1.0.1", 1, None),
            ("fd01::1", 1, None),
            ("10.2.0.9", REMOTE, Some([192, 168, 77, 2])),
            ("fd02::9", REMOTE, Some([192, 168, 77, 2])),
        ] {
            node.announce(ip, identity, tunnel.map(Ipv4Addr::from));
        }
        node
    }

    pub(crate) fn apply(&mut self, plan: Vec<Op>) {
        apply(&mut self.kernel, plan).unwrap();
    }

    pub(crate) fn set_endpoint(&mut self, endpoint: &Endpoint, lockdown: bool) {
        let identity = endpoint.identity.unwrap().get();
        let rows = endpoint::rows(endpoint, identity, lockdown);
        self.apply(rows.into_iter().map(|(map, key, value)| Op::Update { map, key, value }).collect());
    }

    pub(crate) fn announce(&mut self, prefix: &str, identity: u32, tunnel: Option<Ipv4Addr>) {
        let row = IpcacheRow {
            prefix: prefix.parse().unwrap(),
            identity: NumericIdentity::new(identity),
            tunnel_endpoint: tunnel.map(IpAddr::V4),
            encrypt_key: 0,
            policy_revision: 0,
            origin: Origin::new(model::Source::Local, "east".parse().unwrap()),
        };
        self.apply(vec![ipcache::upsert(&row)]);
    }

    pub(crate) fn allow(&mut self, set: u32, direction: Direction, remote: u32, port: PortProto) {
        self.rule(set, direction, remote, port, false, 1);
    }

    pub(crate) fn rule(
        &mut self,
        set: u32,
        direction: Direction,
        remote: u32,
        port: PortProto,
        deny: bool,
        precedence: u32,
    ) {
        let key = PolicyKey { set: NumericIdentity::new(set), direction, remote: NumericIdentity::new(remote), port };
        let row = PolicyMapRow { key, deny, precedence, derived_from: Arc::from([]) };
        self.apply(policy::upserts(&row).collect());
    }

    pub(crate) fn revoke(&mut self, set: u32, direction: Direction, remote: u32, port: PortProto) {
        let key = PolicyKey { set: NumericIdentity::new(set), direction, remote: NumericIdentity::new(remote), port };
        self.apply(policy::deletes(&key).collect());
    }

    /// The client sends an IP packet.
    pub(crate) fn client_sends(&mut self, packet: &[u8]) -> TestRun {
        self.run(Program::LxcIn, &frame(packet), self.client.host_ifindex, 0)
    }

    pub(crate) fn server_sends(&mut self, packet: &[u8]) -> TestRun {
        self.run(Program::LxcIn, &frame(packet), self.server.host_ifindex, 0)
    }

    pub(crate) fn run(&mut self, program: Program, frame: &[u8], ifindex: u32, mark: u32) -> TestRun {
        test_run(self.datapath.program(program), frame, ifindex, mark, 1).unwrap()
    }

    /// What was counted since the last call: (reason, direction, packets).
    pub(crate) fn counted(&mut self, reason: u8) -> u64 {
        dump::metrics(&mut self.kernel).unwrap().iter().filter(|row| row.code == reason).map(|row| row.packets).sum()
    }

    /// Runs `send` and demands exactly one drop with this reason.
    #[track_caller]
    pub(crate) fn dropped(&mut self, reason: u8, send: impl FnOnce(&mut Self) -> TestRun) {
        let before = self.counted(reason);
        let run = send(self);
        assert_eq!((run.action, self.counted(reason) - before), (DROP, 1), "reason {reason}");
    }

    pub(crate) fn flows(&mut self) -> Vec<conntrack::Flow> {
        conntrack::list(&mut self.kernel, conntrack::now().unwrap()).unwrap()
    }

    /// Rewrites every conntrack entry.
    pub(crate) fn age_flows(&mut self, change: impl Fn(&mut ebpf_abi::CtEntry)) {
        use ebpf_abi::Plain;
        for map in MapId::CONNTRACK {
            let mut rows = self.kernel.dump(map).unwrap();
            for (_, value) in &mut rows {
                let mut entry = ebpf_abi::CtEntry::from_bytes(value).unwrap();
                change(&mut entry);
                *value = entry.as_bytes().to_vec();
            }
            if !rows.is_empty() {
                self.kernel.update(map, &rows).unwrap();
            }
        }
    }

    pub(crate) fn client_ip(&self, family: usize) -> IpAddr {
        ip_of(&self.client, family)
    }

    pub(crate) fn server_ip(&self, family: usize) -> IpAddr {
        ip_of(&self.server, family)
    }
}

pub(crate) fn ip_of(endpoint: &Endpoint, family: usize) -> IpAddr {
    if family == V4 { endpoint.ipv4.unwrap().into() } else { endpoint.ipv6.unwrap().into() }
}

pub(crate) fn remote_ip(family: usize) -> IpAddr {
    ["10.2.0.9", "fd02::9"][family].parse().unwrap()
}

pub(crate) fn world_ip(family: usize) -> IpAddr {
    ["203.0.113.5", "2001:db8::5"][family].parse().unwrap()
}

pub(crate) fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

pub(crate) fn tcp_port(port: u16) -> PortProto {
    PortProto::new(port, Protocol::Tcp)
}

/// A pod whose two veth ends lie in the node's namespace: enough for programs run by hand.
pub(crate) fn pod(nl: &mut Netlink, id: u16, identity: u32, host: u8) -> Endpoint {
    let name = format!("lxc{id}");
    nl.create_veth(&VethSpec {
        host: PeerSpec { name: &name, ..PeerSpec::default() },
        peer: PeerSpec { name: &format!("eth{id}"), ..PeerSpec::default() },
    })
    .unwrap();
    let link = nl.link(&name).unwrap();
    let peer = nl.link(&format!("eth{id}")).unwrap();
    nl.set_up(link.index).unwrap();
    nl.set_up(peer.index).unwrap();
    endpoint(id, identity, &name, link.index, peer.mac.unwrap().0, link.mac.unwrap().0, [10, 1, 0, host])
}

pub(crate) fn endpoint(
    id: u16,
    identity: u32,
    host_ifname: &str,
    host_ifindex: u32,
    mac: [u8; 6],
    host_mac: [u8; 6],
    ipv4: [u8; 4],
) -> Endpoint {
    let ipv6 = format!("fd0{}::{}", ipv4[1], ipv4[3]);
    Endpoint {
        id: EndpointId(id),
        container_id: Arc::from(format!("container-{id}")),
        netns: Arc::from(""),
        container_ifname: Arc::from("eth0"),
        host_ifname: Arc::from(host_ifname),
        host_ifindex,
        mac: MacAddr(mac),
        host_mac: MacAddr(host_mac),
        ipv4: Some(Ipv4Addr::from(ipv4)),
        ipv6: Some(ipv6.parse().unwrap()),
        namespace: Arc::from("default"),
        pod_name: Arc::from(format!("pod-{id}")),
        service_account: Arc::from("default"),
        named_ports: Vec::new(),
        labels: Labels::default(),
        identity: Some(NumericIdentity::new(identity)),
        state: EndpointState::Ready,
    }
}
