//! `causeway policy explain` against the kernel: random rules become rows by the real code, the rows go into a real
//! policy map, packets are run through the real programs, and each verdict is compared with the one in words.

use crate::{
    fixture::{DROP, Node, V4, ip_of, on_node},
    packet::{SYN, echo, frame, ip, tcp, udp},
};
use datapath::{
    MapId, Program, conntrack, dump,
    kernel::Kernel,
    plan::{Op, policy as rows},
};
use ebpf_abi::{Mark, Plain, PolicyEntry, PolicyKey, PolicyLpmKey};
use model::{
    DefaultDeny, Direction, Entity, Labels, NumericIdentity, Peer, PortProto, Protocol, Requirement, Rule, RuleEntry,
    RuleResource, Selector, SelectorKey,
};
use policy::{
    Core, EnablePolicy, Options, RowOp,
    explain::{Party, Question, Reason, explain},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// Random sets of rules.
const WORLDS: usize = 60;

/// Reserved identities that packets can come from and go to, and pods of two clusters.
const PEERS: [(u32, &str); 14] = [
    (1, "reserved:host"),
    (2, "reserved:world"),
    (6, "reserved:remote-node"),
    (9, "reserved:world-ipv4"),
    (65_537, "k8s:app=a0,k8s:tier=t0,k8s:io.cilium.k8s.policy.cluster=east"),
    (65_538, "k8s:app=a1,k8s:tier=t0,k8s:io.cilium.k8s.policy.cluster=east"),
    (65_539, "k8s:app=a2,k8s:tier=t1,k8s:io.cilium.k8s.policy.cluster=east"),
    (65_540, "k8s:app=a3,k8s:io.cilium.k8s.policy.cluster=east"),
    (65_541, "k8s:tier=t1,k8s:io.cilium.k8s.policy.cluster=east"),
    (131_073, "k8s:app=a0,k8s:tier=t0,k8s:io.cilium.k8s.policy.cluster=west"),
    (131_074, "k8s:app=a1,k8s:tier=t1,k8s:io.cilium.k8s.policy.cluster=west"),
    (131_075, "k8s:app=a2,k8s:io.cilium.k8s.policy.cluster=west"),
    (131_076, "k8s:app=a3,k8s:tier=t1,k8s:io.cilium.k8s.policy.cluster=west"),
    (131_077, "k8s:tier=t2,k8s:io.cilium.k8s.policy.cluster=west"),
];

/// What packets are sent to.
const PACKETS: [PortProto; 8] = [
    PortProto::new(80, Protocol::Tcp),
    PortProto::new(81, Protocol::Tcp),
    PortProto::new(443, Protocol::Tcp),
    PortProto::new(53, Protocol::Udp),
    PortProto::new(80, Protocol::Udp),
    PortProto::new(443, Protocol::Udp),
    PortProto::new(80, Protocol::Sctp),
    PortProto::new(8, Protocol::Icmp),
];

/// What rules name.
const PORTS: [PortProto; 9] = [
    PortProto::new(80, Protocol::Tcp),
    PortProto::new(53, Protocol::Udp),
    PortProto::new(443, Protocol::Any),
    PortProto::new(80, Protocol::Any),
    PortProto::new(0, Protocol::Tcp),
    PortProto::new(0, Protocol::Udp),
    PortProto::new(0, Protocol::Any),
    PortProto::new(8, Protocol::Icmp),
    PortProto::new(0, Protocol::Icmp),
];

/// xorshift64: the same run every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn selector(&mut self) -> Selector {
        let values = ["a0", "a1", "a2", "a3"];
        let count = self.below(3);
        let requirements = (0..count).map(|_| match self.below(7) {
            0 => Requirement::exists(SelectorKey::any("tier")),
            1 => Requirement::does_not_exist(SelectorKey::any("tier")),
            2 => Requirement::not_in(SelectorKey::k8s("app"), [self.pick(&values), self.pick(&values)]),
            3 => Requirement::is(SelectorKey::k8s("tier"), self.pick(&["t0", "t1", "t2"])),
            4 => Requirement::is(SelectorKey::any(model::keys::POLICY_CLUSTER), self.pick(&["east", "west"])),
            _ => Requirement::is_in(SelectorKey::k8s("app"), [self.pick(&values), self.pick(&values)]),
        });
        Selector::try_new(requirements).unwrap()
    }

    fn entries(&mut self) -> Vec<RuleEntry> {
        let count = self.below(3);
        let peer = |dice: &mut Self| match dice.below(3) {
            0 => Peer::Entity(dice.pick(&Entity::ALL)),
            _ => Peer::Endpoints(dice.selector()),
        };
        let entry = |dice: &mut Self| {
            let peers = (!dice.one_in(6)).then(|| (0..dice.below(3)).map(|_| peer(dice)).collect());
            let ports = (0..dice.below(4)).map(|_| dice.pick(&PORTS)).collect();
            RuleEntry { peers, ports }
        };
        (0..count).map(|_| entry(self)).collect()
    }

    fn rule(&mut self, number: usize) -> Arc<Rule> {
        let (ingress, egress) = (self.entries(), self.entries());
        let default_deny = DefaultDeny {
            ingress: !self.one_in(4) && !ingress.is_empty(),
            egress: !self.one_in(4) && !egress.is_empty(),
        };
        let resource = RuleResource { namespace: "n".into(), name: number.to_string().into(), file: None, line: None };
        let subject = if self.one_in(2) { Selector::all() } else { self.selector() };
        Arc::new(Rule { resource, subject, ingress, egress, default_deny })
    }
}

fn labels(text: &str) -> Labels {
    text.split(',').map(|label| label.parse().unwrap()).collect()
}

/// One set of rules, and the endpoint that they are about.
struct World {
    subject: Party,
    rules: Vec<Arc<Rule>>,
    options: Options,
}

impl World {
    fn random(dice: &mut Dice, number: usize) -> Self {
        let text = "k8s:app=a0,k8s:tier=t1,k8s:io.cilium.k8s.policy.cluster=east";
        let subject = match number % 10 {
            // Only an endpoint whose labels are not known yet has this number.
            9 => Party { identity: NumericIdentity::INIT, labels: labels("reserved:init") },
            _ => Party { identity: NumericIdentity::new(70_000 + number as u32), labels: labels(text) },
        };
        let enable = match number % 8 {
            6 => EnablePolicy::Always,
            7 => EnablePolicy::Never,
            _ => EnablePolicy::Default,
        };
        let rules = (0..dice.below(5)).map(|number| dice.rule(number)).collect();
        let options = Options { enable, cluster: "east".into(), allow_localhost: !dice.one_in(4) };
        Self { subject, rules, options }
    }

    /// The rows that the agent makes of it.
    fn rows(&self) -> Vec<Op> {
        let mut core = Core::new(self.options.clone());
        for (number, text) in PEERS {
            core.handle_identity(NumericIdentity::new(number), labels(text));
        }
        for rule in &self.rules {
            let resource = &rule.resource;
            core.handle_rule((Arc::clone(&resource.namespace), Arc::clone(&resource.name), 0), Some(Arc::clone(rule)));
        }
        core.handle_local(self.subject.identity, Some(self.subject.labels.clone()));
        let ops = core.resolve();
        ops.iter()
            .flat_map(|op| match op {
                RowOp::Upsert(row) => rows::upserts(row).collect::<Vec<_>>(),
                RowOp::Delete(key) => rows::deletes(key).collect(),
            })
            .collect()
    }

    fn set(&self) -> u32 {
        self.subject.identity.get()
    }

    /// Puts it into the kernel.
    fn enter(&self, node: &mut Node) {
        node.apply(vec![Op::CreateSet(self.set())]);
        node.apply(self.rows());
        let mut server = node.server.clone();
        server.identity = Some(self.subject.identity);
        node.set_endpoint(&server, false);
    }

    fn leave(&self, node: &mut Node) {
        let server = node.server.clone();
        node.set_endpoint(&server, false);
        node.apply(vec![Op::DropSet(self.set())]);
        conntrack::flush(&mut node.kernel).unwrap();
    }

    /// Pairs compared, how many of them pass, and where the kernel and the explanation differ.
    fn compare(&self, node: &mut Node, reasons: &mut BTreeMap<String, usize>) -> (usize, usize, Vec<String>) {
        conntrack::flush(&mut node.kernel).unwrap();
        let (mut pairs, mut passed, mut differ) = (0, 0, Vec::new());
        for direction in Direction::BOTH {
            for (number, (identity, text)) in PEERS.into_iter().enumerate() {
                for port in PACKETS {
                    let remote = Party { identity: NumericIdentity::new(identity), labels: labels(text) };
                    let question = Question { subject: self.subject.clone(), direction, remote, port };
                    let explained = explain(&question, &self.rules, &self.options);
                    let packet = sends(node, direction, number, identity, port);
                    let row = looks_up(node, self.set(), direction, identity, port);
                    *reasons.entry(format!("{:?}", explained.reason)).or_default() += 1;
                    pairs += 1;
                    passed += usize::from(packet);
                    if explained.allowed != packet || explained.allowed != row {
                        differ.push(format!(
                            "{direction} {identity} {port}: explained {:?}, packet {packet}, row {row}",
                            explained.reason
                        ));
                    }
                    let names_rules = !explained.decided_by.is_empty();
                    assert_eq!(names_rules, explained.reason == Reason::Rule, "{explained:?}");
                }
            }
        }
        (pairs, passed, differ)
    }
}

fn address(number: usize) -> IpAddr {
    Ipv4Addr::new(10, 9, 0, number as u8 + 1).into()
}

/// Whether a packet of a new flow passes the programs at the server's door.
fn sends(node: &mut Node, direction: Direction, number: usize, identity: u32, port: PortProto) -> bool {
    let (own, other) = (ip_of(&node.server, V4), address(number));
    let (src, dst) = if direction == Direction::Ingress { (other, own) } else { (own, other) };
    let (from, to) = (SocketAddr::new(src, 40_000), SocketAddr::new(dst, port.port));
    let packet = match port.proto {
        Protocol::Tcp => tcp(from, to, SYN),
        Protocol::Udp => udp(from, to),
        Protocol::Sctp => {
            let mut header = [0; 12];
            header[..2].copy_from_slice(&from.port().to_be_bytes());
            header[2..4].copy_from_slice(&to.port().to_be_bytes());
            ip(src, dst, 132, &header)
        }
        _ => echo(src, dst, true, 7),
    };
    let veth = node.server.host_ifindex;
    let run = match direction {
        Direction::Ingress => node.run(Program::LxcOut, &frame(&packet), veth, Mark::identity(identity).0),
        Direction::Egress => node.run(Program::LxcIn, &frame(&packet), veth, 0),
    };
    run.action != DROP
}

/// What the rows of the kernel's own map say.
fn looks_up(node: &mut Node, set: u32, direction: Direction, identity: u32, port: PortProto) -> bool {
    dump::verdict(&mut node.kernel, set, direction, identity, port).unwrap().unwrap()
}

#[test]
fn explanations_are_what_the_kernel_does_for_random_rules_peers_and_ports() {
    on_node("explained", |node| {
        for (number, (identity, _)) in PEERS.into_iter().enumerate() {
            node.announce(&address(number).to_string(), identity, Some(Ipv4Addr::new(192, 168, 77, 2)));
        }
        let mut dice = Dice(0x5eed_cafe);
        let (mut pairs, mut passed, mut broken) = (0, 0, [0; 3]);
        let mut reasons = BTreeMap::new();
        for number in 0..WORLDS {
            let world = World::random(&mut dice, number);
            world.enter(node);
            let (compared, let_through, differ) = world.compare(node, &mut reasons);
            assert!(differ.is_empty(), "world {number} {:#?}:\n{}", world.rules, differ.join("\n"));
            pairs += compared;
            passed += let_through;
            let noticed = break_rows(node, &world);
            broken = std::array::from_fn(|kind| broken[kind] + noticed[kind]);
            world.leave(node);
        }
        println!(
            "explain: {pairs} pairs compared with the programs and the map, {passed} pass, broken rows \
             noticed (missing, turned round, too many): {broken:?}; reasons: {reasons:?}"
        );
        assert!(pairs > 10_000 && passed > 1000 && pairs - passed > 1000, "{pairs} pairs of which {passed} pass");
        assert!(broken.iter().all(|noticed| *noticed >= 10), "the comparison notices broken rows: {broken:?}");
        let all = ["Always", "DefaultDeny", "Disabled", "Init", "LocalHost", "NoDefaultDeny", "NotEnforced", "Rule"];
        for reason in all {
            assert!(reasons.contains_key(reason), "{reason} never came up: {reasons:?}");
        }
    });
}

/// The negative twin: a missing row, a row turned round and a row too many; how many of each were noticed.
fn break_rows(node: &mut Node, world: &World) -> [usize; 3] {
    let set = MapId::PolicySet(world.set());
    let mut noticed = [0; 3];
    let differs = |node: &mut Node| !world.compare(node, &mut BTreeMap::new()).2.is_empty();
    let whole = |egress: u8| {
        let key = PolicyKey { identity: 0, egress, proto: 0, dport: 0 };
        PolicyLpmKey { prefix_len: ebpf_abi::POLICY_STATIC_PREFIX, key }.as_bytes().to_vec()
    };
    for egress in [0, 1] {
        let key = whole(egress);
        let direction = if egress == 1 { Direction::Egress } else { Direction::Ingress };
        if let Some(value) = node.kernel.lookup(set, &key).unwrap() {
            // Other rows may say the same of each peer: then nothing is wrong without this one.
            node.kernel.delete(set, std::slice::from_ref(&key)).unwrap();
            noticed[0] += usize::from(differs(node));
            let mut entry = PolicyEntry::from_bytes(&value).unwrap();
            (entry.flags, entry.precedence) = (entry.flags | PolicyEntry::DENY, u32::MAX);
            node.kernel.update(set, &[(key.clone(), entry.as_bytes().to_vec())]).unwrap();
            assert!(differs(node), "a row turned round is not noticed: {:#?}", world.rules);
            noticed[1] += 1;
            node.kernel.update(set, &[(key, value)]).unwrap();
            continue;
        }
        let mut pairs = PEERS.iter().flat_map(|(peer, _)| PACKETS.map(|port| (*peer, port)));
        if pairs.any(|(peer, port)| !looks_up(node, world.set(), direction, peer, port)) {
            let entry = PolicyEntry { precedence: 1, ..PolicyEntry::default() };
            node.kernel.update(set, &[(key.clone(), entry.as_bytes().to_vec())]).unwrap();
            assert!(differs(node), "a row too many is not noticed: {:#?}", world.rules);
            noticed[2] += 1;
            node.kernel.delete(set, &[key]).unwrap();
        }
    }
    noticed
}
