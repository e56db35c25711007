//! Which node gets which range, and when one comes back.
//!
//! A range is given to a node that asks and has none. It comes back only with proof: its node has neither asked, nor
//! published itself, nor an address in the range, for as long as keys outlive their writer, in one and the same store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use model::{NodeName, Prefix};

use crate::ClusterPool;
use crate::cluster_pool::overlap;

/// What stands in the store, all of it complete.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Which store says so.
    pub cluster_id: u64,
    /// And when.
    pub revision: i64,
    /// Nodes that ask, for as long as they live.
    pub requests: BTreeSet<NodeName>,
    /// What was handed out.
    pub assigned: BTreeMap<NodeName, Vec<Prefix>>,
    /// The ranges that nodes say they have.
    pub published: BTreeMap<NodeName, Vec<Prefix>>,
    /// Addresses of pods.
    pub addresses: Vec<Prefix>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Hand these ranges out.
    Assign(NodeName, Vec<Prefix>),
    /// Take a node's ranges back.
    Reclaim(NodeName),
    /// No range is left for the node.
    Full(NodeName),
}

/// Hands out the ranges of a cluster.
#[derive(Debug)]
pub struct Handout {
    pools: Vec<ClusterPool>,
    /// How long a node's keys outlive it.
    patience: Duration,
    /// Since when nothing was seen of a node that has ranges.
    silent: BTreeMap<NodeName, Instant>,
    store: (u64, i64),
}

// === impl Handout ===

impl Handout {
    /// One pool a family.
    pub fn new(pools: Vec<ClusterPool>, patience: Duration) -> Self {
        Self { pools, patience, silent: BTreeMap::new(), store: (0, 0) }
    }

    /// What must be done now; all of it fits together.
    pub fn plan(&mut self, now: Instant, seen: &Seen) -> Vec<Decision> {
        if seen.cluster_id != self.store.0 || seen.revision < self.store.1 {
            // Silence in another store says nothing about this one.
            self.silent.clear();
        }
        self.store = (seen.cluster_id, seen.revision);
        let mut decisions = self.reclaim(now, seen);
        let mut taken: Vec<Prefix> = seen.assigned.values().chain(seen.published.values()).flatten().copied().collect();
        for node in seen.requests.iter().filter(|node| !seen.assigned.contains_key(*node)) {
            let own = seen.published.get(node).filter(|ranges| !ranges.is_empty());
            let others = |range: &Prefix| {
                let theirs = |(other, ranges): (&NodeName, &Vec<Prefix>)| {
                    other != node && ranges.iter().any(|theirs| overlap(*theirs, *range))
                };
                seen.assigned.iter().any(theirs) || seen.published.iter().any(theirs)
            };
            let ranges = match own {
                // It has pods there already: what was written down was lost with the store.
                Some(own) if !own.iter().any(others) => Some(own.clone()),
                _ => self.pools.iter().map(|pool| pool.free(taken.iter())).collect(),
            };
            decisions.push(match ranges {
                Some(ranges) => {
                    taken.extend(&ranges);
                    Decision::Assign(node.clone(), ranges)
                }
                None => Decision::Full(node.clone()),
            });
        }
        decisions
    }

    fn reclaim(&mut self, now: Instant, seen: &Seen) -> Vec<Decision> {
        let is_silent = |node: &NodeName, ranges: &[Prefix]| {
            let used = || seen.addresses.iter().any(|address| ranges.iter().any(|range| overlap(*range, *address)));
            !seen.requests.contains(node) && !seen.published.contains_key(node) && !used()
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
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(900);

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
            Self { handout: Handout::new(pools, PATIENCE), now: Instant::now(), seen }
        }

        /// Carries out what is decided, a line each.
        fn turn(&mut self) -> String {
            let decisions = self.handout.plan(self.now, &self.seen);
            self.seen.revision += 1;
            let mut lines = Vec::new();
            for decision in decisions {
                lines.push(match decision {
                    Decision::Assign(node, ranges) => {
                        let text = ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                        self.seen.assigned.insert(node.clone(), ranges);
                        format!("{node}: {text}")
                    }
                    Decision::Reclaim(node) => {
                        self.seen.assigned.remove(&node);
                        format!("{node} lost")
                    }
                    Decision::Full(node) => format!("{node} full"),
                });
            }
            lines.join(", ")
        }

        fn ask(&mut self, node: &str) {
            self.seen.requests.insert(name(node));
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
        assert_eq!(bench.turn(), "c full", "half of what it needs is nothing");
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
        assert_eq!(bench.turn(), "twin full");
    }
}
