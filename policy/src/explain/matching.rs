//! Which entries of a rule let a packet through, and which of several the kernel takes.

use model::{Entity, Peer, PortProto, Protocol, Rule, RuleEntry, RuleResource};

use super::{Party, Question};

/// An entry that lets the packet through.
pub(super) struct Match {
    /// Its rule.
    pub(super) rule: RuleResource,
    /// Bits of protocol and port that it names.
    l4_bits: u8,
    /// It names the peer, and not any.
    specific: bool,
}

// === impl Match ===

impl Match {
    /// The kernel takes the longer match of protocol and port, then the row of the peer itself.
    pub(super) fn rank(&self) -> (u8, bool) {
        (self.l4_bits, self.specific)
    }
}

/// The entry that the kernel takes.
pub(super) fn best(found: &[Match]) -> Option<&Match> {
    found.iter().max_by_key(|found| found.rank())
}

/// The entries of a rule that let the packet through.
pub(super) fn matches(question: &Question, rule: &Rule, own: &str) -> Vec<Match> {
    let entries = rule.entries(question.direction).iter();
    entries.filter_map(|entry| matched(question, rule, entry, own)).collect()
}

fn matched(question: &Question, rule: &Rule, entry: &RuleEntry, own: &str) -> Option<Match> {
    let specific = names_peer(entry, &question.remote, own)?;
    let l4_bits = port_bits(&entry.ports, question.port)?;
    Some(Match { rule: rule.resource.clone(), l4_bits, specific })
}

/// `None`: the peer is not meant. Else whether it is meant by name, and not because anybody is.
pub(super) fn names_peer(entry: &RuleEntry, remote: &Party, own: &str) -> Option<bool> {
    let Some(peers) = &entry.peers else { return Some(false) };
    let meant = peers.iter().filter(|peer| selects(peer, remote, own));
    let by_name = meant.map(|peer| !matches!(peer, Peer::Entity(Entity::All)));
    by_name.max()
}

/// Whether a peer of a rule means this party.
pub(super) fn selects(peer: &Peer, remote: &Party, own: &str) -> bool {
    match peer {
        Peer::Endpoints(selector) => selector.matches(&remote.labels),
        Peer::Entity(entity) => entity.selects(remote.identity, &remote.labels, own),
        Peer::Cidr(cidr) => cidr.selects(&remote.labels),
    }
}

/// How many bits of protocol and port the longest fitting port of a list names; `None` when none fits.
pub(super) fn port_bits(ports: &[PortProto], packet: PortProto) -> Option<u8> {
    if ports.is_empty() {
        return Some(0);
    }
    let bits = |port: &PortProto| match (port.port, port.proto) {
        (0, Protocol::Any) => Some(0),
        (0, proto) => (proto == packet.proto).then_some(8),
        // A number of any protocol means the protocols that have ports.
        (number, Protocol::Any) => (number == packet.port && has_ports(packet.proto)).then_some(24),
        (number, proto) => (number == packet.port && proto == packet.proto).then_some(24),
    };
    ports.iter().filter_map(bits).max()
}

fn has_ports(proto: Protocol) -> bool {
    matches!(proto, Protocol::Tcp | Protocol::Udp | Protocol::Sctp)
}
