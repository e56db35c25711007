use model::{DefaultDeny, Entity, Peer, Protocol, Requirement, RuleEntry, Selector, SelectorKey};

use super::*;

fn labels(text: &str) -> Labels {
    text.split(',').filter(|label| !label.is_empty()).map(|label| label.parse().unwrap()).collect()
}

fn party(identity: u32, text: &str) -> Party {
    Party { identity: NumericIdentity::new(identity), labels: labels(text) }
}

fn app(value: &str) -> Selector {
    Selector::try_new([Requirement::is(SelectorKey::k8s("app"), value)]).unwrap()
}

fn rule(name: &str, subject: &str, ingress: Vec<RuleEntry>, denies: bool) -> Arc<Rule> {
    let resource =
        RuleResource { namespace: "shop".into(), name: name.into(), file: Some("p.yaml".into()), line: Some(3) };
    let default_deny = DefaultDeny { ingress: denies, egress: false };
    Arc::new(Rule { resource, subject: app(subject), ingress, egress: Vec::new(), default_deny })
}

fn from(peers: Option<Vec<Peer>>, ports: &[u16]) -> RuleEntry {
    RuleEntry { peers, ports: ports.iter().map(|port| PortProto::new(*port, Protocol::Tcp)).collect() }
}

fn ask(remote: Party, port: u16, rules: &[Arc<Rule>], enable: EnablePolicy) -> Explanation {
    let options = Options { enable, cluster: "east".into(), allow_localhost: true };
    let port = PortProto::new(port, Protocol::Tcp);
    let question = Question { subject: party(70_000, "k8s:app=cart"), direction: Direction::Ingress, remote, port };
    explain(&question, rules, &options)
}

fn client() -> Party {
    party(70_001, "k8s:app=client")
}

#[test]
fn each_reason_is_named_with_what_would_change_it() {
    let peers = || Some(vec![Peer::Endpoints(app("client"))]);
    let all = [rule("cart", "cart", vec![from(peers(), &[80])], true)];
    let check = |explanation: Explanation, allowed: bool, reason: Reason, advice: &str| {
        assert_eq!((explanation.allowed, explanation.reason), (allowed, reason), "{explanation:?}");
        let text = explanation.advice.join(" / ");
        assert!(text.contains(advice), "{text}");
    };
    use EnablePolicy::{Always, Default, Never};
    check(ask(client(), 80, &[], Default), true, Reason::NotEnforced, "selects k8s:app=cart");
    check(ask(client(), 80, &all, Never), true, Reason::Disabled, "--enable-policy=never");
    check(ask(client(), 80, &[], Always), false, Reason::Always, "write a policy that selects k8s:app=cart");
    check(
        ask(client(), 80, &all, Default),
        true,
        Reason::Rule,
        "without shop/cart (p.yaml:3) nothing would be enforced",
    );
    check(ask(party(1, "reserved:host"), 80, &all, Default), true, Reason::LocalHost, "--allow-localhost");
    check(
        ask(client(), 81, &all, Default),
        false,
        Reason::DefaultDeny,
        "add to shop/cart (p.yaml:3) an ingress rule: fromEndpoints that select k8s:app=client, port 81/TCP",
    );
    check(ask(client(), 81, &all, Default), false, Reason::DefaultDeny, "or remove shop/cart (p.yaml:3)");
    let open = [rule("open", "cart", vec![from(peers(), &[80])], false)];
    check(ask(client(), 81, &open, Default), true, Reason::NoDefaultDeny, "would drop");
}

#[test]
fn a_near_miss_says_which_side_is_missing() {
    let rules = [rule("cart", "cart", vec![from(Some(vec![Peer::Endpoints(app("client"))]), &[80])], true)];
    let port = ask(client(), 81, &rules, EnablePolicy::Default);
    assert_eq!(port.near[0].why, "allows this peer on 80/TCP only, not on 81/TCP");
    let peer = ask(party(70_002, "k8s:app=intruder"), 80, &rules, EnablePolicy::Default);
    assert_eq!(peer.near[0].why, "allows this port from other peers: k8s:app=client, where this peer has \"intruder\"");
    let neither = ask(party(70_002, "k8s:app=intruder"), 81, &rules, EnablePolicy::Default);
    assert!(neither.near.is_empty() && !neither.allowed);
}

#[test]
fn the_rule_that_decides_is_the_one_whose_row_the_kernel_takes() {
    let peers = || Some(vec![Peer::Endpoints(app("client"))]);
    let everybody = rule("everybody", "cart", vec![from(None, &[])], true);
    let named = rule("named", "cart", vec![from(peers(), &[])], true);
    let port = rule("port", "cart", vec![from(Some(vec![Peer::Entity(Entity::All)]), &[80])], true);
    let rules = [everybody, named, port];
    let names = |resources: &[RuleResource]| resources.iter().map(|one| one.name.to_string()).collect::<Vec<_>>();
    let at_80 = ask(client(), 80, &rules, EnablePolicy::Default);
    assert_eq!(
        (names(&at_80.decided_by), names(&at_80.also)),
        (vec!["port".into()], vec!["everybody".into(), "named".into()])
    );
    let at_81 = ask(client(), 81, &rules, EnablePolicy::Default);
    assert_eq!((names(&at_81.decided_by), names(&at_81.also)), (vec!["named".into()], vec!["everybody".into()]));
    assert!(at_81.advice[0].contains("still be allowed, by shop/everybody"), "{:?}", at_81.advice);
}
