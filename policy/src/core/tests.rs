//! The verdict table of reference/l7-hubble-policy.md section 1.11, as far as L3 and L4 allows go, on the rows that the
//! core makes; looked up as the datapath does.

use model::{DefaultDeny, Entity, Peer, RuleEntry, RuleResource, Selector, SelectorKey};

use super::*;
use crate::EnablePolicy;

/// The fixture: `FE`, `FEp`, `BE`, `DNS` in cluster c1, `FE2`, `BE2` in cluster c2, nodes and the world.
const FIXTURE: [(&str, u32, &str); 9] = [
    ("H1", 1, "reserved:host"),
    ("H2", 6, "reserved:remote-node"),
    ("X7", 9, "reserved:world-ipv4"),
    ("FE", 65537, "k8s:app=frontend,k8s:io.kubernetes.pod.namespace=default,k8s:io.cilium.k8s.policy.cluster=c1"),
    ("FEp", 65538, "k8s:app=frontend,k8s:io.kubernetes.pod.namespace=prod,k8s:io.cilium.k8s.policy.cluster=c1"),
    ("BE", 65539, "k8s:app=backend,k8s:io.kubernetes.pod.namespace=default,k8s:io.cilium.k8s.policy.cluster=c1"),
    (
        "DNS",
        65540,
        "k8s:k8s-app=kube-dns,k8s:io.kubernetes.pod.namespace=kube-system,k8s:io.cilium.k8s.policy.cluster=c1",
    ),
    ("FE2", 131_073, "k8s:app=frontend,k8s:io.kubernetes.pod.namespace=default,k8s:io.cilium.k8s.policy.cluster=c2"),
    ("BE2", 131_074, "k8s:app=backend,k8s:io.kubernetes.pod.namespace=prod,k8s:io.cilium.k8s.policy.cluster=c2"),
];

fn id(name: &str) -> NumericIdentity {
    let found = FIXTURE.iter().find(|(fixture, ..)| *fixture == name);
    NumericIdentity::new(found.expect("a name of the fixture").1)
}

fn labels(text: &str) -> Labels {
    text.split(',').map(|label| label.parse().unwrap()).collect()
}

fn core(enable: EnablePolicy) -> Core {
    let mut core = Core::new(Options { enable, cluster: "c1".into(), allow_localhost: true });
    for (_, number, text) in FIXTURE {
        core.handle_identity(NumericIdentity::new(number), labels(text));
    }
    core
}

/// `k=v` pairs joined by commas; a value `*` means the key exists.
fn selector(text: &str) -> Selector {
    let requirement = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap();
        let key = SelectorKey::any(match key {
            "ns" => model::keys::POD_NAMESPACE,
            "cluster" => model::keys::POLICY_CLUSTER,
            other => other,
        });
        if value == "*" { model::Requirement::exists(key) } else { model::Requirement::is(key, value) }
    };
    Selector::try_new(text.split(',').filter(|pair| !pair.is_empty()).map(requirement)).unwrap()
}

fn endpoints(text: &str) -> Option<Vec<Peer>> {
    Some(vec![Peer::Endpoints(selector(text))])
}

fn entity(entity: Entity) -> Option<Vec<Peer>> {
    Some(vec![Peer::Entity(entity)])
}

fn ports(text: &str) -> Vec<PortProto> {
    let port = |port: &str| {
        let (number, proto) = port.split_once('/').unwrap();
        PortProto::new(number.parse().unwrap(), proto.parse().unwrap())
    };
    text.split(',').filter(|port| !port.is_empty()).map(port).collect()
}

fn rule(name: &str, subject: &str, direction: Direction, entries: Vec<(Option<Vec<Peer>>, &str)>) -> Arc<Rule> {
    let entries: Vec<_> = entries.into_iter().map(|(peers, text)| RuleEntry { peers, ports: ports(text) }).collect();
    let denies = !entries.is_empty();
    let (ingress, egress) = match direction {
        Direction::Ingress => (entries, Vec::new()),
        Direction::Egress => (Vec::new(), entries),
    };
    let default_deny = DefaultDeny {
        ingress: denies && direction == Direction::Ingress,
        egress: denies && direction == Direction::Egress,
    };
    let resource = RuleResource { namespace: "default".into(), name: name.into(), file: None, line: None };
    Arc::new(Rule { resource, subject: selector(subject), ingress, egress, default_deny })
}

fn install(core: &mut Core, rule: &Arc<Rule>) {
    let key = (Arc::clone(&rule.resource.namespace), Arc::clone(&rule.resource.name), 0);
    core.handle_rule(key, Some(Arc::clone(rule)));
}

/// The rows that operations leave behind.
fn apply(rows: &mut BTreeMap<PolicyKey, PolicyMapRow>, ops: Vec<RowOp>) -> usize {
    let count = ops.len();
    for op in ops {
        match op {
            RowOp::Upsert(row) => drop(rows.insert(row.key, row)),
            RowOp::Delete(key) => drop(rows.remove(&key)),
        }
    }
    count
}

/// As the datapath looks up: the longest port match of the exact identity, then of identity 0.
fn allowed(
    rows: &BTreeMap<PolicyKey, PolicyMapRow>,
    set: NumericIdentity,
    direction: Direction,
    remote: NumericIdentity,
    packet: PortProto,
) -> bool {
    let levels = [packet, PortProto::new(0, packet.proto), PortProto::new(0, Protocol::Any)];
    let find = |remote| levels.iter().find_map(|port| rows.get(&PolicyKey { set, direction, remote, port: *port }));
    [find(remote), find(ANY)].into_iter().flatten().any(|row| !row.deny)
}

/// `FE:8080/TCP A` lines: who comes in to BE, and what becomes of it.
#[track_caller]
fn check(enable: EnablePolicy, rules: &[Arc<Rule>], expected: &str) {
    let mut core = core(enable);
    for rule in rules {
        install(&mut core, rule);
    }
    core.handle_local(id("BE"), Some(labels(FIXTURE[5].2)));
    let mut rows = BTreeMap::new();
    apply(&mut rows, core.resolve());
    for case in expected.split(", ") {
        let (packet, verdict) = case.split_once(' ').unwrap();
        let (peer, port) = packet.split_once(':').unwrap_or((packet, "8080/TCP"));
        let port = ports(port)[0];
        let found = allowed(&rows, id("BE"), Direction::Ingress, id(peer), port);
        assert_eq!(if found { "A" } else { "D" }, verdict, "{case}; rows: {rows:#?}");
    }
}

fn ingress(entries: Vec<(Option<Vec<Peer>>, &str)>) -> Arc<Rule> {
    rule("rule", "app=backend", Direction::Ingress, entries)
}

#[test]
fn verdict_table() {
    let default = EnablePolicy::Default;
    check(default, &[], "FE A, X7 A, FE2 A"); // 1
    check(default, &[ingress(vec![(Some(vec![]), "")])], "FE D, X7 D, H1 A"); // 2
    check(default, &[ingress(vec![])], "FE A"); // 3
    let local = "ns=default,cluster=c1";
    check(default, &[ingress(vec![(endpoints(local), "")])], "FE A, FEp D, FE2 D, X7 D, H2 D"); // 4
    check(default, &[ingress(vec![(endpoints("ns=default"), "")])], "FE A, FE2 A, FEp D"); // 5
    check(default, &[ingress(vec![(Some(vec![]), "8080/TCP")])], "FE D, X7 D, H1 A"); // 6
    let frontend = "app=frontend,ns=default,cluster=c1";
    let seven = ingress(vec![(endpoints(frontend), "8080/TCP")]);
    check(default, std::slice::from_ref(&seven), "FE A, FE:8081/TCP D, FE:8080/UDP D, FE:8/ICMP D, FEp D"); // 7
    check(default, &[ingress(vec![(None, "8080/TCP")])], "FE A, FEp A, FE2 A, X7 A, FE:8081/TCP D"); // 8
    check(default, &[ingress(vec![(None, "0/TCP")])], "FE:9/TCP A, X7 A, FE:9/UDP D"); // 9
    check(default, &[ingress(vec![(None, "53/ANY")])], "FE:53/TCP A, FE:53/UDP A, FE D"); // 11
    check(default, &[ingress(vec![(endpoints("app=frontend,ns=prod"), "")])], "FEp A, FE D"); // 13
    check(default, &[ingress(vec![(endpoints("ns=*,cluster=c1"), "")])], "FE A, FEp A, DNS A, FE2 D, X7 D, H2 D"); // 14
    check(default, &[ingress(vec![(entity(Entity::Cluster), "")])], "FE A, FEp A, H2 A, FE2 D, X7 D"); // 15
    check(default, &[ingress(vec![(entity(Entity::World), "")])], "X7 A, FE D, FE2 D, H2 D"); // 16
    check(default, &[ingress(vec![(entity(Entity::All), "")])], "FE A, FE2 A, X7 A, H2 A"); // 17
    check(default, &[ingress(vec![(entity(Entity::RemoteNode), "")])], "H2 A, FE D"); // 18
    check(EnablePolicy::Always, &[], "FE D, X7 D, H1 A"); // 37
    check(EnablePolicy::Never, &[ingress(vec![(Some(vec![]), "")])], "FE A, X7 A"); // 37
}

#[test]
fn rule_without_default_deny_denies_nothing() {
    let mut open = Rule::clone(&ingress(vec![(endpoints("app=frontend"), "8080/TCP")]));
    open.default_deny = DefaultDeny::default();
    check(EnablePolicy::Default, &[Arc::new(open)], "FE A, X7 A, FE:9/UDP A");
}

#[test]
fn relabelled_peer_loses_its_rows_and_only_those() {
    let mut core = core(EnablePolicy::Default);
    install(&mut core, &ingress(vec![(endpoints("app=frontend,ns=default"), "8080/TCP")]));
    core.handle_local(id("BE"), Some(labels(FIXTURE[5].2)));
    let mut rows = BTreeMap::new();
    apply(&mut rows, core.resolve());
    core.handle_identity(id("FE"), labels("k8s:app=other,k8s:io.kubernetes.pod.namespace=default"));
    assert_eq!(apply(&mut rows, core.resolve()), 1, "one row for one identity");
    assert!(!allowed(&rows, id("BE"), Direction::Ingress, id("FE"), ports("8080/TCP")[0]));
    assert!(allowed(&rows, id("BE"), Direction::Ingress, id("FE2"), ports("8080/TCP")[0]));
}

#[test]
fn rows_of_a_deleted_identity_stay_until_no_address_has_it() {
    let mut core = core(EnablePolicy::Default);
    install(&mut core, &ingress(vec![(endpoints("app=frontend,ns=default"), "8080/TCP")]));
    core.handle_local(id("BE"), Some(labels(FIXTURE[5].2)));
    let mut rows = BTreeMap::new();
    apply(&mut rows, core.resolve());
    core.handle_identity_gone(id("FE"));
    assert_eq!(apply(&mut rows, core.resolve()), 0);
    core.handle_unused(id("FE"));
    assert_eq!(apply(&mut rows, core.resolve()), 1);
    assert!(!allowed(&rows, id("BE"), Direction::Ingress, id("FE"), ports("8080/TCP")[0]));
}

#[test]
fn identity_that_no_selector_selects_costs_no_row() {
    let mut core = core(EnablePolicy::Default);
    install(&mut core, &ingress(vec![(endpoints("app=frontend"), "")]));
    core.handle_local(id("BE"), Some(labels(FIXTURE[5].2)));
    core.resolve();
    core.handle_identity(NumericIdentity::new(70_000), labels("k8s:app=batch"));
    assert!(core.resolve().is_empty());
}

#[test]
fn egress_rule_allows_its_peers_only_and_the_last_endpoint_takes_its_set_along() {
    let mut core = core(EnablePolicy::Default);
    let peers = endpoints("app=backend,ns=prod,cluster=c2");
    install(&mut core, &rule("out", "app=frontend", Direction::Egress, vec![(peers, "")]));
    core.handle_local(id("FE"), Some(labels(FIXTURE[3].2)));
    let mut rows = BTreeMap::new();
    apply(&mut rows, core.resolve());
    let port = ports("8080/TCP")[0];
    assert!(allowed(&rows, id("FE"), Direction::Egress, id("BE2"), port)); // 30
    assert!(!allowed(&rows, id("FE"), Direction::Egress, id("BE"), port));
    assert!(allowed(&rows, id("FE"), Direction::Ingress, id("BE"), port), "ingress is not enforced");
    core.handle_local(id("FE"), None);
    apply(&mut rows, core.resolve());
    assert!(rows.is_empty());
    assert_eq!(core.selectors().selectors().count(), 0);
}
