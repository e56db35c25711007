//! Which node gets which range, and when one comes back.
//!
//! A range of a pool is given to a node that asks for more addresses of it than its ranges have. It comes back only with
//! proof: its node has neither asked, nor published itself, nor an address in the range, for as long as keys outlive their
//! writer, in one and the same store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{DEFAULT_POOL, NodeName, PodRange, Prefix, RangeDemand};

use crate::cluster_pool::overlap;
use crate::{ClusterPool, Pool};

/// What stands in the store, all of it complete.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Which store says so.
    pub cluster_id: u64,
    /// And when.
    pub revision: i64,
    /// Nodes that ask, for as long as they live.
    pub requests: BTreeMap<NodeName, RangeDemand>,
    /// What was handed out.
    pub assigned: BTreeMap<NodeName, Vec<PodRange>>,
    /// The ranges that nodes say they have.
    pub published: BTreeMap<NodeName, Vec<Prefix>>,
    /// Addresses of pods.
    pub addresses: Vec<Prefix>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// These are the node's ranges from now on.
    Assign(NodeName, Vec<PodRange>),
    /// Take a node's ranges back.
    Reclaim(NodeName),
    /// No range of the pool is left for the node.
    Full(NodeName, Arc<str>),
}

/// Hands out the ranges of a cluster.
#[derive(Debug)]
pub struct Handout {
    pools: BTreeMap<Arc<str>, Vec<ClusterPool>>,
    /// How long a node's keys outlive it.
    patience: Duration,
    /// Since when nothing was seen of a node that has ranges.
    silent: BTreeMap<NodeName, Instant>,
    store: (u64, i64),
}

// === impl Handout ===

impl Handout {
    /// Without pools.
    pub fn new(patience: Duration) -> Self {
        Self { pools: BTreeMap::new(), patience, silent: BTreeMap::new(), store: (0, 0) }
    }

    /// The pools by name, each with one of a family. Ranges that were handed out of others stay where they are.
    pub fn set_pools(&mut self, pools: BTreeMap<Arc<str>, Vec<ClusterPool>>) {
        self.pools = pools;
    }

    /// What must be done now; all of it fits together.
    pub fn plan(&mut self, now: Instant, seen: &Seen) -> Vec<Decision> {
        if seen.cluster_id != self.store.0 || seen.revision < self.store.1 {
            // Silence in another store says nothing about this one.
            self.silent.clear();
        }
        self.store = (seen.cluster_id, seen.revision);
        let mut decisions = self.reclaim(now, seen);
        let assigned = seen.assigned.values().flatten().map(|range| range.cidr);
        let mut taken: Vec<Prefix> = assigned.chain(seen.published.values().flatten().copied()).collect();
        for (node, demand) in &seen.requests {
            let held = seen.assigned.get(node).cloned().unwrap_or_else(|| self.published(node, seen));
            let mut ranges = held.clone();
            for (pool, wanted) in demand {
                let before = (ranges.len(), taken.len());
                let lacks = [true, false]
                    .into_iter()
                    .any(|ipv4| !self.fill(pool, ipv4, wanted.of(ipv4), &mut ranges, &mut taken));
                // Half of what a node needs at first is nothing: its pods have addresses of both families.
                if lacks && **pool == *DEFAULT_POOL && !held.iter().any(|range| *range.pool == *DEFAULT_POOL) {
                    ranges.truncate(before.0);
                    taken.truncate(before.1);
                }
                if lacks {
                    decisions.push(Decision::Full(node.clone(), Arc::clone(pool)));
                }
            }
            if !ranges.is_empty() && seen.assigned.get(node) != Some(&ranges) {
                decisions.push(Decision::Assign(node.clone(), ranges));
            }
        }
        decisions
    }

    /// Adds ranges of a pool until they have as many addresses of a family as are wanted; false when none is left.
    fn fill(
        &self,
        pool: &Arc<str>,
        ipv4: bool,
        wanted: u32,
        ranges: &mut Vec<PodRange>,
        taken: &mut Vec<Prefix>,
    ) -> bool {
        let pools = self.pools.get(pool).map_or(&[][..], |pools| pools);
        let Some(source) = pools.iter().find(|source| source.is_ipv4() == ipv4) else {
            // A default pool may have one family only; a pool that nobody made has nothing.
            return !pools.is_empty() || wanted == 0;
        };
        let ours = |range: &&PodRange| range.pool == *pool && range.cidr.is_ipv4() == ipv4;
        let mut has: u128 = ranges.iter().filter(ours).map(|range| Pool::new(range.cidr).capacity()).sum();
        while has < u128::from(wanted) {
            let Some(cidr) = source.free(taken.iter()) else { return false };
            has += Pool::new(cidr).capacity();
            taken.push(cidr);
            ranges.push(PodRange { pool: Arc::clone(pool), cidr });
        }
        true
    }

    /// What the node says it has, when nobody else has it: it has pods there, and what was written down was lost with the
    /// store.
    fn published(&self, node: &NodeName, seen: &Seen) -> Vec<PodRange> {
        let own = seen.published.get(node).map_or(&[][..], |ranges| ranges);
        let others = |range: &Prefix| {
            let published = seen
                .published
                .iter()
                .filter(|(other, _)| *other != node)
                .flat_map(|(_, ranges)| ranges.iter().copied());
            let assigned = seen.assigned.iter().filter(|(other, _)| *other != node);
            let assigned = assigned.flat_map(|(_, ranges)| ranges.iter().map(|range| range.cidr));
            published.chain(assigned).any(|theirs| overlap(theirs, *range))
        };
        if own.iter().any(others) {
            return Vec::new();
        }
        let pool_of = |cidr: Prefix| {
            let named = self.pools.iter().find(|(_, pools)| pools.iter().any(|pool| pool.covers(cidr)));
            named.map_or_else(|| DEFAULT_POOL.into(), |(name, _)| Arc::clone(name))
        };
        own.iter().map(|cidr| PodRange { pool: pool_of(*cidr), cidr: *cidr }).collect()
    }

    fn reclaim(&mut self, now: Instant, seen: &Seen) -> Vec<Decision> {
        let is_silent = |node: &NodeName, ranges: &[PodRange]| {
            let used = || seen.addresses.iter().any(|address| ranges.iter().any(|range| overlap(range.cidr, *address)));
            !seen.requests.contains_key(node) && !seen.published.contains_key(node) && !used()
        };
        let silent: BTreeSet<&NodeName> =
            seen.assigned.iter().filter(|(node, ranges)| is_silent(node, ranges)).map(|(node, _)| node).collect();
        self.silent.retain(|node, _| silent.contains(node));
        let mut decisions = Vec::new();
        for node in silent {
            let since = *self.silent.entry(node.clone()).or_insert(now);
            if now.saturating_duration_since(since) >= self.patience {
                decisions.push(Decision::Reclaim(node.clone()));
            }
        }
        decisions
    }
}

#[cfg(test)]
mod tests {
    use model::Wanted;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(900);

    fn shown(range: &PodRange) -> String {
        match &*range.pool {
            DEFAULT_POOL => range.cidr.to_string(),
            pool => format!("{pool}={}", range.cidr),
        }
    }

    struct Bench {
        handout: Handout,
        now: Instant,
        seen: Seen,
    }

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    impl Bench {
        fn new() -> Self {
            let pool = |text: &str, bits, ipv4| ClusterPool::try_new(vec![text.parse().unwrap()], bits, ipv4).unwrap();
            let pools = vec![pool("10.0.0.0/23", 24, true), pool("fd00::/104", 112, false)];
            let seen = Seen { cluster_id: 1, revision: 1, ..Seen::default() };
            let mut handout = Handout::new(PATIENCE);
            let blue = vec![pool("10.5.0.0/24", 28, true)];
            handout.set_pools([("default".into(), pools), ("blue".into(), blue)].into());
            Self { handout, now: Instant::now(), seen }
        }

        /// Carries out what is decided, a line each.
        fn turn(&mut self) -> String {
            let decisions = self.handout.plan(self.now, &self.seen);
            self.seen.revision += 1;
            let mut lines = Vec::new();
            for decision in decisions {
                lines.push(match decision {
                    Decision::Assign(node, ranges) => {
                        let text = ranges.iter().map(shown).collect::<Vec<_>>().join(" ");
                        self.seen.assigned.insert(node.clone(), ranges);
                        format!("{node}: {text}")
                    }
                    Decision::Reclaim(node) => {
                        self.seen.assigned.remove(&node);
                        format!("{node} lost")
                    }
                    Decision::Full(node, pool) => format!("{node} lacks {pool}"),
                });
            }
            lines.join(", ")
        }

        fn ask(&mut self, node: &str) {
            self.wants(node, &[("default", 1, 1)]);
        }

        fn wants(&mut self, node: &str, pools: &[(&str, u32, u32)]) {
            let demand = pools.iter().map(|(pool, ipv4, ipv6)| (Arc::from(*pool), Wanted { ipv4: *ipv4, ipv6: *ipv6 }));
            self.seen.requests.insert(name(node), demand.collect());
        }
    }

    #[test]
    fn every_node_gets_its_own_and_keeps_it() {
        let mut bench = Bench::new();
        bench.ask("a");
        bench.ask("b");
        assert_eq!(bench.turn(), "a: 10.0.0.0/24 fd00::/112, b: 10.0.1.0/24 fd00::1:0/112");
        assert_eq!(bench.turn(), "");
        bench.ask("c");
        assert_eq!(bench.turn(), "c lacks default", "half of what it needs is nothing");
    }

    #[test]
    fn a_range_comes_back_only_after_a_silence_of_a_leases_time() {
        let mut bench = Bench::new();
        bench.ask("a");
        bench.turn();
        bench.seen.requests.clear();
        bench.seen.addresses.push("10.0.0.9".parse().unwrap());
        bench.now += PATIENCE * 9;
        assert_eq!(bench.turn(), "", "a pod has an address in it");
        bench.seen.addresses.clear();
        assert_eq!(bench.turn(), "", "the silence begins");
        bench.now += PATIENCE - Duration::from_secs(1);
        assert_eq!(bench.turn(), "");
        bench.ask("a");
        assert_eq!(bench.turn(), "", "it is back");
        bench.seen.requests.clear();
        assert_eq!(bench.turn(), "");
        bench.now += PATIENCE;
        bench.seen.cluster_id = 2;
        assert_eq!(bench.turn(), "", "another store proves nothing");
        bench.now += PATIENCE;
        assert_eq!(bench.turn(), "a lost");
    }

    /// A store that was wiped has forgotten who has what; nodes publish it again, and ask.
    #[test]
    fn what_a_node_has_is_written_down_again_and_no_one_gets_it_meanwhile() {
        let mut bench = Bench::new();
        bench.seen.published.insert(name("old"), vec!["10.0.0.0/24".parse().unwrap(), "fd00::/112".parse().unwrap()]);
        bench.ask("new");
        assert_eq!(bench.turn(), "new: 10.0.1.0/24 fd00::1:0/112");
        bench.ask("old");
        assert_eq!(bench.turn(), "old: 10.0.0.0/24 fd00::/112");
        // Two nodes that say they have the same: the second to ask gets another, or none.
        bench.seen.published.insert(name("twin"), vec!["10.0.0.0/24".parse().unwrap()]);
        bench.ask("twin");
        assert_eq!(bench.turn(), "twin lacks default");
    }

    #[test]
    fn a_node_gets_ranges_of_each_pool_until_it_has_the_addresses_that_it_wants() {
        let mut bench = Bench::new();
        bench.wants("a", &[("default", 8, 8), ("blue", 14, 0), ("green", 1, 0)]);
        // A /28 has 13 addresses for pods.
        assert_eq!(bench.turn(), "a lacks green, a: blue=10.5.0.0/28 blue=10.5.0.16/28 10.0.0.0/24 fd00::/112");
        bench.wants("b", &[("default", 8, 8), ("blue", 1, 0)]);
        assert_eq!(bench.turn(), "a lacks green, b: blue=10.5.0.32/28 10.0.1.0/24 fd00::1:0/112");
        bench.wants("a", &[("default", 8, 8), ("blue", 27, 0)]);
        assert_eq!(bench.turn(), "a: blue=10.5.0.0/28 blue=10.5.0.16/28 10.0.0.0/24 fd00::/112 blue=10.5.0.48/28");
        bench.wants("a", &[("default", 1, 1)]);
        assert_eq!(bench.turn(), "", "nothing is taken from a node that lives");
        bench.wants("b", &[("default", 8, 8), ("blue", 1000, 0)]);
        assert!(bench.turn().starts_with("b lacks blue, b: "), "it gets what there is");
        let all: Vec<Prefix> = bench.seen.assigned.values().flatten().map(|range| range.cidr).collect();
        let shared = |at: usize| all[..at].iter().any(|other| overlap(*other, all[at]));
        assert!(!(0..all.len()).any(shared), "no address is in two ranges");
    }

    #[test]
    fn after_a_wipe_a_nodes_ranges_find_their_pools_again() {
        let mut bench = Bench::new();
        let cidrs = ["10.0.0.0/24", "10.5.0.16/28", "fd00::/112"].map(|cidr| cidr.parse().unwrap());
        bench.seen.published.insert(name("a"), cidrs.to_vec());
        bench.wants("a", &[("blue", 1, 0), ("default", 8, 8)]);
        assert_eq!(bench.turn(), "a: 10.0.0.0/24 blue=10.5.0.16/28 fd00::/112");
    }
}
