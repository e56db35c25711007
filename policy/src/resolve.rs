//! The policy of one local identity: which rules protect it, and what they allow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Direction, Labels, NumericIdentity, PortProto, Protocol, Rule};

use crate::{EnablePolicy, Options, PeerKey};

/// Precedence of an allow without tiers: priority 0 in the high bytes, verdict byte 1.
pub(crate) const ALLOW: u32 = 1;

/// What one local identity's rules allow, peers not yet expanded.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Distilled {
    /// Allows from any peer: direction, ports, object.
    pub(crate) any: Vec<Allow>,
    /// Allows by selected peer.
    pub(crate) peers: BTreeMap<PeerKey, Vec<Allow>>,
}

/// One allow: direction, ports (empty for all), and the object that says so.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Allow {
    pub(crate) direction: Direction,
    pub(crate) ports: Vec<PortProto>,
    pub(crate) origin: Arc<str>,
}

/// The rules that select a subject, distilled.
pub(crate) fn distill<'a>(
    subject: NumericIdentity,
    labels: &Labels,
    rules: impl Iterator<Item = &'a Arc<Rule>>,
    options: &Options,
) -> Distilled {
    let rules: Vec<_> = rules.filter(|rule| rule.subject.matches(labels)).collect();
    let mut distilled = Distilled::default();
    for direction in Direction::BOTH {
        if !enforced(subject, direction, &rules, options) {
            distilled.any.push(allow(direction, &[], ""));
            continue;
        }
        if options.enable != EnablePolicy::Always
            && subject != NumericIdentity::INIT
            && !rules.iter().any(|rule| rule.denies_by_default(direction))
        {
            // Rules that allow without default deny: enforcement is on, yet nothing is denied.
            distilled.any.push(allow(direction, &[], ""));
        }
        if direction == Direction::Ingress && options.allow_localhost {
            let host = PeerKey::Entity(model::Entity::Host);
            distilled.peers.entry(host).or_default().push(allow(direction, &[], "reserved:host"));
        }
        for rule in &rules {
            let origin = rule.resource.to_string();
            for entry in rule.entries(direction) {
                let allow = allow(direction, &entry.ports, &origin);
                let Some(peers) = &entry.peers else {
                    distilled.any.push(allow);
                    continue;
                };
                for peer in peers {
                    match PeerKey::of(peer) {
                        Some(key) => distilled.peers.entry(key).or_default().push(allow.clone()),
                        None => distilled.any.push(allow.clone()),
                    }
                }
            }
        }
    }
    distilled
}

/// Whether a direction of the subject is enforced at all.
fn enforced(subject: NumericIdentity, direction: Direction, rules: &[&Arc<Rule>], options: &Options) -> bool {
    match options.enable {
        EnablePolicy::Never => false,
        EnablePolicy::Always => true,
        EnablePolicy::Default => {
            let speaks = |rule: &&Arc<Rule>| rule.denies_by_default(direction) || !rule.entries(direction).is_empty();
            subject == NumericIdentity::INIT || rules.iter().any(speaks)
        }
    }
}

fn allow(direction: Direction, ports: &[PortProto], origin: &str) -> Allow {
    Allow { direction, ports: ports.to_vec(), origin: origin.into() }
}

/// The map keys of an allow's ports: a port of any protocol stands once for each protocol that has ports, because the
/// datapath's longest-prefix match hides the protocol only together with the port.
pub(crate) fn port_keys(ports: &[PortProto]) -> BTreeSet<PortProto> {
    if ports.is_empty() {
        return BTreeSet::from([PortProto::new(0, Protocol::Any)]);
    }
    let expand = |port: &PortProto| match (port.port, port.proto) {
        (1.., Protocol::Any) => {
            [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].map(|proto| PortProto::new(port.port, proto)).into()
        }
        // The number of an ICMP port is its type.
        _ => vec![*port],
    };
    ports.iter().flat_map(expand).collect()
}
