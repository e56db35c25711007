//! Which claim about a prefix wins, and when its row may be written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::{EndpointId, NumericIdentity, Prefix, Source};
use statedb::{RowRef, Snapshot};
use tables::{Endpoint, Identity, IpClaim, IpcacheRow, Origin, PolicyProgress};

/// One source's claim about a prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The identity behind the prefix.
    pub identity: NumericIdentity,
    /// The node to tunnel to.
    pub tunnel_endpoint: Option<IpAddr>,
    /// The encryption key index.
    pub encrypt_key: u8,
    /// Who claims.
    pub origin: Origin,
}

/// A change of table `ipcache`.
#[derive(Debug, Clone, PartialEq)]
pub enum RowOp {
    /// The row is new or differs.
    Upsert(IpcacheRow),
    /// The row goes.
    Delete(Prefix),
}

/// The merge of all claims. Imported claims stay in their table; only local and node claims are held here.
pub struct Core {
    /// The addresses of the node we run on: what lies behind them needs no tunnel.
    own_ips: Vec<IpAddr>,
    endpoints: BTreeMap<Prefix, (EndpointId, Claim)>,
    nodes: BTreeMap<Prefix, Vec<Claim>>,
    /// Ranges that policies name.
    cidrs: BTreeMap<Prefix, Claim>,
    /// What is to be looked at again; in any order, and more than once.
    dirty: Vec<Prefix>,
    /// Prefixes whose winner's identity policy has yet to see, with the revision that it must reach.
    waiting: BTreeMap<Prefix, u64>,
    /// The same in the order of the revisions: who waits costs nothing until it is its turn.
    awaited: BTreeSet<(u64, Prefix)>,
    conflicts: BTreeSet<Prefix>,
}

// === impl Claim ===

impl Claim {
    fn row(self, prefix: Prefix, policy_revision: u64) -> IpcacheRow {
        IpcacheRow {
            prefix,
            identity: self.identity,
            tunnel_endpoint: self.tunnel_endpoint,
            encrypt_key: self.encrypt_key,
            policy_revision,
            origin: self.origin,
        }
    }

    /// Whether the row already says the same.
    fn is(&self, row: &IpcacheRow) -> bool {
        (self.identity, self.tunnel_endpoint, self.encrypt_key) == (row.identity, row.tunnel_endpoint, row.encrypt_key)
            && self.origin == row.origin
    }
}

// === impl Core ===

impl Core {
    /// A merge that has seen nothing.
    pub fn new(own_ips: Vec<IpAddr>) -> Self {
        Self {
            own_ips,
            endpoints: BTreeMap::new(),
            nodes: BTreeMap::new(),
            cidrs: BTreeMap::new(),
            dirty: Vec::new(),
            waiting: BTreeMap::new(),
            awaited: BTreeSet::new(),
            conflicts: BTreeSet::new(),
        }
    }

    /// A local endpoint is there, or (`None`) gone.
    pub fn handle_endpoint(&mut self, id: EndpointId, row: Option<&Endpoint>, cluster: &model::ClusterName) {
        let held: Vec<Prefix> = self.endpoints.iter().filter(|(_, (of, _))| *of == id).map(|(key, _)| *key).collect();
        for prefix in held {
            self.endpoints.remove(&prefix);
            self.dirty.push(prefix);
        }
        let Some(row) = row else { return };
        let Some(identity) = row.identity else { return };
        for ip in row.ips() {
            let origin = Origin::new(Source::Local, cluster.clone());
            let claim = Claim { identity, tunnel_endpoint: None, encrypt_key: 0, origin };
            self.endpoints.insert(Prefix::host(ip), (id, claim));
            self.dirty.push(Prefix::host(ip));
        }
    }

    /// A node's claims changed from `before` to `now`.
    pub fn handle_node(&mut self, before: Vec<(Prefix, Claim)>, now: Vec<(Prefix, Claim)>) {
        for (prefix, claim) in before {
            if let Some(claims) = self.nodes.get_mut(&prefix) {
                if let Some(at) = claims.iter().position(|held| *held == claim) {
                    claims.remove(at);
                }
                if claims.is_empty() {
                    self.nodes.remove(&prefix);
                }
            }
            self.touch(prefix);
        }
        for (prefix, claim) in now {
            let claims = self.nodes.entry(prefix).or_default();
            // Nearly always the only one: a vector that grows takes room for four.
            claims.reserve_exact(1);
            claims.push(claim);
            self.touch(prefix);
        }
    }

    /// The prefix, and the ranges within it: they lie behind the same node.
    fn touch(&mut self, prefix: Prefix) {
        self.dirty.push(prefix);
        if !prefix.is_host() {
            let within = self.cidrs.range(prefix..).map(|(range, _)| *range).take_while(|range| prefix.covers(*range));
            self.dirty.extend(within);
        }
    }

    /// A range has an identity of its own, or (`None`) no longer.
    pub fn handle_cidr(&mut self, prefix: Prefix, identity: Option<NumericIdentity>, cluster: &model::ClusterName) {
        match identity {
            Some(identity) => {
                let origin = Origin::new(Source::Generated, cluster.clone());
                let claim = Claim { identity, tunnel_endpoint: None, encrypt_key: 0, origin };
                self.cidrs.insert(prefix, claim);
            }
            None => drop(self.cidrs.remove(&prefix)),
        }
        self.dirty.push(prefix);
    }

    /// A store's claim about a prefix came, changed or went.
    pub fn handle_import(&mut self, prefix: Prefix) {
        self.dirty.push(prefix);
    }

    /// Policy came further: prefixes that waited for that are looked at again. An identity that went, or changed, while
    /// they did is a later revision of its table.
    pub fn handle_progress(&mut self, progress: &PolicyProgress) {
        let later = self.awaited.split_off(&(progress.identities.saturating_add(1), Prefix::FIRST));
        let reached = std::mem::replace(&mut self.awaited, later);
        self.dirty.extend(reached.into_iter().map(|(_, prefix)| prefix));
    }

    /// Prefixes that wait for policy, for status.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Prefixes that two remote clusters claim, for the metric.
    pub fn conflicts(&self) -> usize {
        self.conflicts.len()
    }

    /// The changes of rows that follow from everything handled since the last call; `rows` is the table with all of them
    /// so far.
    pub fn resolve(
        &mut self,
        ips: &Snapshot<IpClaim>,
        identities: &Snapshot<Identity>,
        progress: &PolicyProgress,
        rows: &Snapshot<IpcacheRow>,
    ) -> Vec<RowOp> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        let mut ops = Vec::new();
        for prefix in dirty {
            let held = rows.get(&prefix);
            if let Some(revision) = self.waiting.remove(&prefix) {
                self.awaited.remove(&(revision, prefix));
            }
            let Some(winner) = self.winner(prefix, ips, held.map(|row| &row.origin)) else {
                ops.extend(held.map(|_| RowOp::Delete(prefix)));
                continue;
            };
            // An identity that no store knows is written at once: without its labels policy treats it as nobody.
            let known = identities.get(&winner.identity).map(RowRef::revision);
            if let Some(revision) = known.filter(|revision| *revision > progress.identities) {
                self.waiting.insert(prefix, revision);
                self.awaited.insert((revision, prefix));
                continue;
            }
            // A later policy revision alone is no news: the row was allowed to be written before.
            if !held.is_some_and(|row| winner.is(row)) {
                ops.push(RowOp::Upsert(winner.row(prefix, progress.policy_map)));
            }
        }
        ops
    }

    fn winner(&mut self, prefix: Prefix, ips: &Snapshot<IpClaim>, holder: Option<&Origin>) -> Option<Claim> {
        let imported = ips.range(|(key, _)| key.cmp(&prefix)).map(|row| Claim {
            identity: row.entry.identity,
            tunnel_endpoint: row.entry.host_ip.filter(|host| !self.own_ips.contains(host)),
            encrypt_key: row.entry.key,
            origin: row.origin.clone(),
        });
        let local = self.endpoints.get(&prefix).map(|(_, claim)| claim.clone());
        let nodes = self.nodes.get(&prefix).into_iter().flatten().cloned();
        let mut claims = local.into_iter().chain(nodes).chain(imported);
        let first = claims.next();
        let claims: Vec<Claim> = match (first, claims.next()) {
            // Nearly always one store says something, and nobody else anything.
            (Some(only), None) => {
                self.conflicts.remove(&prefix);
                return Some(self.named(prefix, only));
            }
            (first, second) => first.into_iter().chain(second).chain(claims).collect(),
        };
        let Some(best) = claims.iter().map(|claim| claim.origin.source).max() else {
            self.conflicts.remove(&prefix);
            return self.cidrs.get(&prefix).map(|cidr| self.behind(prefix, cidr));
        };
        let mut rivals: Vec<Claim> = claims.into_iter().filter(|claim| claim.origin.source == best).collect();
        let contested = rivals.iter().any(|claim| claim.origin.cluster != rivals[0].origin.cluster);
        if contested {
            self.conflicts.insert(prefix);
        } else {
            self.conflicts.remove(&prefix);
        }
        let held = rivals.iter().position(|claim| Some(&claim.origin) == holder);
        let winner = rivals.swap_remove(held.unwrap_or(0));
        Some(self.named(prefix, winner))
    }

    /// A node's range of pods is the world's until somebody names it.
    fn named(&self, prefix: Prefix, claim: Claim) -> Claim {
        match self.cidrs.get(&prefix) {
            Some(cidr) if claim.origin.source <= Source::Generated => Claim { identity: cidr.identity, ..claim },
            _ => claim,
        }
    }

    /// A range within a node's range of pods lies behind that node.
    fn behind(&self, prefix: Prefix, cidr: &Claim) -> Claim {
        let wider = (1..prefix.bits()).rev().filter_map(|bits| Prefix::try_new(prefix.addr(), bits).ok());
        let node = wider.filter_map(|wide| self.nodes.get(&wide)).find_map(|claims| claims.first());
        match node {
            Some(node) => {
                Claim { tunnel_endpoint: node.tunnel_endpoint, encrypt_key: node.encrypt_key, ..cidr.clone() }
            }
            None => cidr.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{ClusterName, IpEntry, Labels};
    use statedb::{Writer, table};

    use super::*;

    struct Bench {
        core: Core,
        ips: Writer<IpClaim>,
        identities: Writer<Identity>,
        rows: Writer<IpcacheRow>,
        progress: PolicyProgress,
    }

    fn cluster(name: &str) -> ClusterName {
        ClusterName::try_new(name).unwrap()
    }

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    impl Bench {
        fn new() -> Self {
            let core = Core::new(vec!["192.0.2.1".parse().unwrap()]);
            let progress = PolicyProgress { identities: u64::MAX, ..PolicyProgress::default() };
            Self { core, ips: table().0, identities: table().0, rows: table().0, progress }
        }

        fn import(&mut self, from: (Source, &str), ip: &str, identity: u32, host: &str) {
            let mut entry = IpEntry::new(prefix(ip), NumericIdentity::new(identity));
            entry.host_ip = host.parse().ok();
            self.ips.upsert(IpClaim { origin: Origin::new(from.0, cluster(from.1)), entry });
            self.core.handle_import(prefix(ip));
        }

        fn withdraw(&mut self, from: (Source, &str), ip: &str) {
            self.ips.delete(&(prefix(ip), Origin::new(from.0, cluster(from.1))));
            self.core.handle_import(prefix(ip));
        }

        /// The operations as text: `+prefix=identity@tunnel` and `-prefix`.
        fn resolve(&mut self) -> String {
            let (ips, identities) = (self.ips.reader().snapshot(), self.identities.reader().snapshot());
            let show = |op: &RowOp| match op {
                RowOp::Upsert(row) => {
                    let tunnel = row.tunnel_endpoint.map(|ip| format!("@{ip}")).unwrap_or_default();
                    format!("+{}={}{tunnel}", row.prefix, row.identity)
                }
                RowOp::Delete(prefix) => format!("-{prefix}"),
            };
            let rows = self.rows.reader().snapshot();
            let ops = self.core.resolve(&ips, &identities, &self.progress, &rows);
            let text = ops.iter().map(show).collect::<Vec<_>>().join(" ");
            for op in ops {
                match op {
                    RowOp::Upsert(row) => drop(self.rows.upsert(row)),
                    RowOp::Delete(prefix) => drop(self.rows.delete(&prefix)),
                }
            }
            text
        }
    }

    const OWN: (Source, &str) = (Source::Kvstore, "east");
    const WEST: (Source, &str) = (Source::ClusterMesh, "west");
    const NORTH: (Source, &str) = (Source::ClusterMesh, "north");
    const DISK: (Source, &str) = (Source::Restored, "west");

    #[test]
    fn higher_source_wins_and_the_next_takes_over() {
        let mut bench = Bench::new();
        bench.import(DISK, "10.0.0.1", 1000, "192.0.2.9");
        assert_eq!(bench.resolve(), "+10.0.0.1=1000@192.0.2.9");
        bench.import(OWN, "10.0.0.1", 1001, "192.0.2.1");
        assert_eq!(bench.resolve(), "+10.0.0.1=1001", "our own node needs no tunnel");
        bench.import(WEST, "10.0.0.1", 1002, "192.0.2.7");
        assert_eq!(bench.resolve(), "", "a remote claim never outranks our own store");
        bench.withdraw(OWN, "10.0.0.1");
        assert_eq!(bench.resolve(), "+10.0.0.1=1002@192.0.2.7");
        bench.withdraw(WEST, "10.0.0.1");
        bench.withdraw(DISK, "10.0.0.1");
        assert_eq!(bench.resolve(), "-10.0.0.1");
    }

    #[test]
    fn between_remotes_the_first_claim_holds_and_the_second_is_counted() {
        let mut bench = Bench::new();
        bench.import(WEST, "10.0.0.1", 1002, "192.0.2.7");
        assert_eq!(bench.resolve(), "+10.0.0.1=1002@192.0.2.7");
        bench.import(NORTH, "10.0.0.1", 1003, "192.0.2.8");
        assert_eq!(bench.resolve(), "");
        assert_eq!(bench.core.conflicts(), 1);
        bench.withdraw(WEST, "10.0.0.1");
        assert_eq!(bench.resolve(), "+10.0.0.1=1003@192.0.2.8");
        assert_eq!(bench.core.conflicts(), 0);
    }

    #[test]
    fn row_waits_until_policy_knows_its_identity_and_the_old_one_stays_meanwhile() {
        let mut bench = Bench::new();
        bench.import(WEST, "10.0.0.1", 1002, "192.0.2.7");
        assert_eq!(bench.resolve(), "+10.0.0.1=1002@192.0.2.7", "an unknown identity does not hold a row back");
        bench.progress.identities = 0;
        let origin = Origin::new(Source::ClusterMesh, cluster("west"));
        bench.identities.upsert(Identity {
            id: NumericIdentity::new(1003),
            labels: Labels::default(),
            origin,
            create_revision: 1,
        });
        bench.import(WEST, "10.0.0.1", 1003, "192.0.2.7");
        assert_eq!(bench.resolve(), "");
        assert_eq!(bench.core.waiting(), 1);
        bench.progress.identities = 1;
        bench.core.handle_progress(&bench.progress.clone());
        assert_eq!(bench.resolve(), "+10.0.0.1=1003@192.0.2.7");
        assert_eq!(bench.core.waiting(), 0);
    }

    /// Each step of policy looked at every address that waited, which made a cold start quadratic.
    #[test]
    fn progress_looks_at_those_alone_whose_identity_it_has_reached() {
        let mut bench = Bench::new();
        bench.progress.identities = 0;
        for number in 1..=3 {
            bench.identities.upsert(Identity {
                id: NumericIdentity::new(1000 + number),
                labels: Labels::default(),
                origin: Origin::new(Source::ClusterMesh, cluster("west")),
                create_revision: 1,
            });
            bench.import(WEST, &format!("10.0.0.{number}"), 1000 + number, "192.0.2.7");
        }
        assert_eq!(bench.resolve(), "");
        let progress = |bench: &mut Bench, identities| {
            bench.progress.identities = identities;
            bench.core.handle_progress(&bench.progress.clone());
            bench.core.dirty.len()
        };
        assert_eq!(progress(&mut bench, 2), 2);
        assert_eq!(bench.resolve(), "+10.0.0.1=1001@192.0.2.7 +10.0.0.2=1002@192.0.2.7");
        assert_eq!(progress(&mut bench, 2), 0);
        // The last one's identity goes before policy has seen it: nothing says who it is, so nothing holds it back.
        bench.identities.delete(&NumericIdentity::new(1003));
        assert_eq!(progress(&mut bench, 4), 1);
        assert_eq!(bench.resolve(), "+10.0.0.3=1003@192.0.2.7");
        assert_eq!((bench.core.waiting(), bench.core.awaited.len()), (0, 0));
    }

    #[test]
    fn a_range_has_its_number_unless_somebody_lives_there_and_lies_behind_its_node() {
        let mut bench = Bench::new();
        let cidr = |bench: &mut Bench, text: &str, id: Option<u32>| {
            bench.core.handle_cidr(prefix(text), id.map(NumericIdentity::new), &cluster("east"));
        };
        cidr(&mut bench, "10.0.0.0/8", Some(1 << 24 | 1));
        cidr(&mut bench, "10.0.2.0/24", Some(1 << 24 | 2));
        cidr(&mut bench, "10.0.2.64/26", Some(1 << 24 | 3));
        cidr(&mut bench, "10.0.0.1", Some(1 << 24 | 4));
        assert_eq!(
            bench.resolve(),
            "+10.0.0.0/8=16777217 +10.0.0.1=16777220 +10.0.2.0/24=16777218 +10.0.2.64/26=16777219"
        );
        let mut node = model::Node::new(model::NodeName::try_new("b").unwrap(), cluster("east"), Default::default());
        node.source = Source::Kvstore;
        node.addresses =
            vec![model::NodeAddress { kind: model::AddressKind::InternalIp, ip: "192.0.2.2".parse().unwrap() }];
        node.ipv4_alloc_cidr = Some(prefix("10.0.2.0/24"));
        node.ipv4_secondary_alloc_cidrs = vec![prefix("10.7.0.0/24")];
        let name = model::NodeName::try_new("a").unwrap();
        let own = crate::Own { cluster: cluster("east"), name, ips: Vec::new(), dual_stack: true };
        let claims = crate::node_claims(&node, &own);
        bench.core.handle_node(Vec::new(), claims.clone());
        let text = bench.resolve();
        for part in ["+10.0.2.0/24=16777218@192.0.2.2", "+10.0.2.64/26=16777219@192.0.2.2", "+10.7.0.0/24=9@192.0.2.2"]
        {
            assert!(text.contains(part), "{text}");
        }
        bench.import(WEST, "10.0.0.1", 1002, "192.0.2.7");
        assert_eq!(bench.resolve(), "+10.0.0.1=1002@192.0.2.7", "a pod is never of a range");
        cidr(&mut bench, "10.0.2.0/24", None);
        assert_eq!(bench.resolve(), "+10.0.2.0/24=9@192.0.2.2");
        bench.core.handle_node(claims, Vec::new());
        let text = bench.resolve();
        assert!(text.contains("+10.0.2.64/26=16777219 ") || text.ends_with("+10.0.2.64/26=16777219"), "{text}");
        cidr(&mut bench, "10.0.2.64/26", None);
        assert_eq!(bench.resolve(), "-10.0.2.64/26");
        assert_eq!(bench.core.conflicts(), 0);
    }

    #[test]
    fn nodes_claim_their_addresses_and_cidrs() {
        let mut node = model::Node::new(model::NodeName::try_new("b").unwrap(), cluster("east"), Default::default());
        node.source = Source::Kvstore;
        let address = |kind, ip: &str| model::NodeAddress { kind, ip: ip.parse().unwrap() };
        node.addresses = vec![
            address(model::AddressKind::InternalIp, "192.0.2.2"),
            address(model::AddressKind::CiliumInternalIp, "10.0.2.1"),
        ];
        node.ipv4_alloc_cidr = Some(prefix("10.0.2.0/24"));
        node.ipv4_health_ip = "10.0.2.9".parse().ok();
        let own = |name: &str, dual_stack| crate::Own {
            cluster: cluster("east"),
            name: model::NodeName::try_new(name).unwrap(),
            ips: Vec::new(),
            dual_stack,
        };
        let claims = |name: &str, dual_stack| crate::node_claims(&node, &own(name, dual_stack));
        let mut bench = Bench::new();
        bench.core.handle_node(Vec::new(), claims("a", true));
        let other = "+10.0.2.0/24=9@192.0.2.2 +10.0.2.1=6@192.0.2.2 +10.0.2.9=4@192.0.2.2 +192.0.2.2=6";
        let sorted = |text: String| {
            let mut words: Vec<_> = text.split(' ').map(str::to_owned).collect();
            words.sort();
            words.join(" ")
        };
        assert_eq!(sorted(bench.resolve()), other);
        // One world where there is one family.
        bench.core.handle_node(claims("a", true), claims("a", false));
        assert_eq!(bench.resolve(), "+10.0.2.0/24=2@192.0.2.2");
        bench.core.handle_node(claims("a", false), claims("b", true));
        assert_eq!(sorted(bench.resolve()), "+10.0.2.1=1 +10.0.2.9=4 +192.0.2.2=1 -10.0.2.0/24");
    }
}
