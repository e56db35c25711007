//! Numbers of ranges of addresses, in the scope of this node: no store knows them.
//!
//! A range has a number while a rule names it. It gets the one that it had before a restart, and no number is given again
//! before all the others were: flows of the kernel may still carry it.

use std::collections::{BTreeMap, BTreeSet};

use model::{NumericIdentity, Prefix, Rule};

/// The scope of identities of ranges.
const SCOPE: u32 = 1 << 24;

/// How many numbers there are; 0 is none.
const NUMBERS: u32 = (1 << 24) - 1;

/// The numbers of this node's ranges. `K` tells rules apart.
#[derive(Debug)]
pub struct Cidrs<K> {
    held: BTreeMap<Prefix, NumericIdentity>,
    numbers: BTreeSet<u32>,
    /// The number that was given last.
    last: u32,
    of_rule: BTreeMap<K, BTreeSet<Prefix>>,
    users: BTreeMap<Prefix, usize>,
}

/// A change of a range's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CidrOp {
    /// The range has this number.
    Given(Prefix, NumericIdentity),
    /// It has it no longer.
    Gone(Prefix, NumericIdentity),
    /// Every number is in use.
    Exhausted(Prefix),
}

// === impl Cidrs ===

impl<K: Ord> Cidrs<K> {
    /// The ranges of an earlier run; they stay until [`Self::handle_complete`].
    pub fn restored(held: impl IntoIterator<Item = (Prefix, NumericIdentity)>) -> Self {
        let mut cidrs = Self {
            held: BTreeMap::new(),
            numbers: BTreeSet::new(),
            last: 0,
            of_rule: BTreeMap::new(),
            users: BTreeMap::new(),
        };
        for (prefix, identity) in held {
            let number = identity.get() & NUMBERS;
            if identity.get() & !NUMBERS == SCOPE && number > 0 && cidrs.numbers.insert(number) {
                cidrs.last = cidrs.last.max(number);
                cidrs.held.insert(prefix, identity);
            }
        }
        cidrs
    }

    /// The ranges with their numbers.
    pub fn held(&self) -> impl Iterator<Item = (Prefix, NumericIdentity)> + '_ {
        self.held.iter().map(|(prefix, identity)| (*prefix, *identity))
    }

    /// A rule is in force, or (`None`) no longer.
    pub fn handle_rule(&mut self, key: K, rule: Option<&Rule>) -> Vec<CidrOp> {
        let now: BTreeSet<Prefix> = rule.map(prefixes).unwrap_or_default();
        let mut ops = Vec::new();
        for prefix in &now {
            *self.users.entry(*prefix).or_default() += 1;
            if !self.held.contains_key(prefix) {
                ops.push(self.give(*prefix));
            }
        }
        let before = match now.is_empty() {
            true => self.of_rule.remove(&key),
            false => self.of_rule.insert(key, now),
        };
        for prefix in before.unwrap_or_default() {
            if let Some(users) = self.users.get_mut(&prefix) {
                *users -= 1;
                if *users == 0 {
                    self.users.remove(&prefix);
                    ops.extend(self.take(prefix));
                }
            }
        }
        ops
    }

    /// Every rule was told: what no rule names goes.
    pub fn handle_complete(&mut self) -> Vec<CidrOp> {
        let unused: Vec<Prefix> = self.held.keys().filter(|prefix| !self.users.contains_key(prefix)).copied().collect();
        unused.into_iter().filter_map(|prefix| self.take(prefix)).collect()
    }

    fn give(&mut self, prefix: Prefix) -> CidrOp {
        let free = |number: &u32| !self.numbers.contains(number);
        let Some(number) = (self.last + 1..=NUMBERS).chain(1..=self.last).find(free) else {
            return CidrOp::Exhausted(prefix);
        };
        self.last = number;
        self.numbers.insert(number);
        let identity = NumericIdentity::new(SCOPE | number);
        self.held.insert(prefix, identity);
        CidrOp::Given(prefix, identity)
    }

    fn take(&mut self, prefix: Prefix) -> Option<CidrOp> {
        let identity = self.held.remove(&prefix)?;
        self.numbers.remove(&(identity.get() & NUMBERS));
        Some(CidrOp::Gone(prefix, identity))
    }
}

fn prefixes(rule: &Rule) -> BTreeSet<Prefix> {
    let entries = rule.ingress.iter().chain(&rule.egress);
    let peers = entries.flat_map(|entry| entry.peers.iter().flatten());
    let cidrs = peers.filter_map(|peer| match peer {
        model::Peer::Cidr(cidr) => Some(cidr),
        _ => None,
    });
    cidrs.flat_map(|cidr| cidr.prefixes()).collect()
}

#[cfg(test)]
mod tests {
    use model::{CidrPeer, DefaultDeny, Peer, ReservedIdentity, RuleEntry, RuleResource, Selector};

    use super::*;

    pub(super) fn rule(cidrs: &[&str]) -> Rule {
        let peer = |text: &&str| {
            let (cidr, except) = text.split_once('-').unwrap_or((text, ""));
            let except = except.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect();
            Peer::Cidr(CidrPeer { cidr: cidr.parse().unwrap(), except, world: ReservedIdentity::WorldIpv4 })
        };
        let resource = RuleResource { namespace: "n".into(), name: "r".into(), file: None, line: None };
        let egress = vec![RuleEntry { peers: Some(cidrs.iter().map(peer).collect()), ports: Vec::new() }];
        let default_deny = DefaultDeny { ingress: false, egress: true };
        Rule { resource, subject: Selector::all(), ingress: Vec::new(), egress, default_deny }
    }

    fn text(ops: Vec<CidrOp>) -> String {
        let line = |op: CidrOp| match op {
            CidrOp::Given(prefix, identity) => format!("+{prefix}={}", identity.get() - SCOPE),
            CidrOp::Gone(prefix, _) => format!("-{prefix}"),
            CidrOp::Exhausted(prefix) => format!("!{prefix}"),
        };
        ops.into_iter().map(line).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_range_has_one_number_while_a_rule_names_it() {
        let mut cidrs = Cidrs::restored([]);
        assert_eq!(
            text(cidrs.handle_rule("a", Some(&rule(&["10.0.0.0/8-10.1.0.0/16", "0.0.0.0/0"])))),
            "+10.0.0.0/8=1 +10.1.0.0/16=2"
        );
        assert_eq!(text(cidrs.handle_rule("b", Some(&rule(&["10.0.0.0/8"])))), "");
        assert_eq!(text(cidrs.handle_rule("a", Some(&rule(&["192.0.2.1"])))), "+192.0.2.1=3 -10.1.0.0/16");
        assert_eq!(text(cidrs.handle_rule("b", None)), "-10.0.0.0/8");
        assert_eq!(
            text(cidrs.handle_rule("b", Some(&rule(&["10.0.0.0/8"])))),
            "+10.0.0.0/8=4",
            "no number comes back soon"
        );
    }

    #[test]
    fn numbers_outlive_a_restart_and_go_only_when_every_rule_is_known() {
        let mut before = Cidrs::restored([]);
        before.handle_rule("a", Some(&rule(&["10.0.0.0/8", "11.0.0.0/8"])));
        let mut after = Cidrs::restored(before.held().collect::<Vec<_>>());
        assert_eq!(text(after.handle_rule("a", Some(&rule(&["11.0.0.0/8", "12.0.0.0/8"])))), "+12.0.0.0/8=3");
        assert_eq!(text(after.handle_complete()), "-10.0.0.0/8");
        let wrong = [("10.0.0.0/8", 7), ("10.0.0.0/9", SCOPE), ("10.0.0.0/10", SCOPE | 5), ("10.0.0.0/11", SCOPE | 5)];
        let wrong = wrong.map(|(prefix, number)| (prefix.parse().unwrap(), NumericIdentity::new(number)));
        assert_eq!(Cidrs::<&str>::restored(wrong).held().count(), 1, "of another scope, none, or given twice");
    }

    #[test]
    fn every_number_in_use_is_said() {
        let mut cidrs = Cidrs::restored([]);
        cidrs.last = NUMBERS - 1;
        cidrs.numbers = (2..NUMBERS).collect();
        assert_eq!(
            text(cidrs.handle_rule("a", Some(&rule(&["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"])))),
            "+10.0.0.0/8=16777215 +11.0.0.0/8=1 !12.0.0.0/8"
        );
    }
}
