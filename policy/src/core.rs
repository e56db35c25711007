//! From changes of rules, identities and local identities to changes of policy rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Direction, Labels, NumericIdentity, PortProto, Protocol, Rule};
use tables::{PolicyKey, PolicyMapRow};

use crate::resolve::{ALLOW, Allow, Distilled, distill, port_keys};
use crate::{Options, PeerKey, SelectorCache};

/// Identity 0 in a row's peer: any.
const ANY: NumericIdentity = NumericIdentity::UNKNOWN;

/// A change of table `policy-map`.
#[derive(Debug, Clone, PartialEq)]
pub enum RowOp {
    /// The row is new or differs.
    Upsert(PolicyMapRow),
    /// The row goes.
    Delete(PolicyKey),
}

/// Where a rule stands: namespace, name, position in its object.
type RuleKey = (Arc<str>, Arc<str>, usize);

/// The policy of this node.
pub struct Core {
    options: Options,
    cache: SelectorCache,
    rules: BTreeMap<RuleKey, Arc<Rule>>,
    sets: BTreeMap<NumericIdentity, Set>,
    /// Selector -> the sets that use it.
    users: BTreeMap<PeerKey, BTreeSet<NumericIdentity>>,
    /// Identities that left their table; their rows stay until no address has them.
    leaving: BTreeSet<NumericIdentity>,
    /// Rows of sets that went.
    gone: Vec<PolicyKey>,
    dirty_sets: BTreeSet<NumericIdentity>,
    dirty_pairs: BTreeSet<(NumericIdentity, NumericIdentity)>,
}

struct Set {
    labels: Labels,
    distilled: Distilled,
    rows: BTreeMap<PolicyKey, PolicyMapRow>,
}

// === impl Core ===

impl Core {
    /// A node without rules, identities and endpoints.
    pub fn new(options: Options) -> Self {
        let cache = SelectorCache::new(Arc::clone(&options.cluster));
        Self {
            options,
            cache,
            rules: BTreeMap::new(),
            sets: BTreeMap::new(),
            users: BTreeMap::new(),
            leaving: BTreeSet::new(),
            gone: Vec::new(),
            dirty_sets: BTreeSet::new(),
            dirty_pairs: BTreeSet::new(),
        }
    }

    /// A rule is in force, or (`None`) no longer.
    pub fn handle_rule(&mut self, key: RuleKey, rule: Option<Arc<Rule>>) {
        let before = match rule.clone() {
            Some(rule) => self.rules.insert(key, rule),
            None => self.rules.remove(&key),
        };
        for (id, set) in &self.sets {
            if before.iter().chain(&rule).any(|rule| rule.subject.matches(&set.labels)) {
                self.dirty_sets.insert(*id);
            }
        }
    }

    /// An identity exists with these labels.
    pub fn handle_identity(&mut self, id: NumericIdentity, labels: Labels) {
        self.leaving.remove(&id);
        let changed = self.cache.upsert(id, labels);
        self.touch(id, changed);
    }

    /// An identity was deleted. Its rows stay until [`handle_unused`](Self::handle_unused).
    pub fn handle_identity_gone(&mut self, id: NumericIdentity) {
        self.leaving.insert(id);
    }

    /// The identities that were deleted and still have rows.
    pub fn leaving(&self) -> Vec<NumericIdentity> {
        self.leaving.iter().copied().collect()
    }

    /// No address has a leaving identity any more.
    pub fn handle_unused(&mut self, id: NumericIdentity) {
        if self.leaving.remove(&id) {
            let changed = self.cache.remove(id);
            self.touch(id, changed);
        }
    }

    /// Some local endpoint has this identity, or (`None`) none any more.
    pub fn handle_local(&mut self, id: NumericIdentity, labels: Option<Labels>) {
        match labels {
            Some(labels) => {
                let set = self.sets.entry(id).or_insert_with(|| {
                    let (distilled, rows) = Default::default();
                    Set { labels: labels.clone(), distilled, rows }
                });
                set.labels = labels;
                self.dirty_sets.insert(id);
            }
            None => {
                let Some(set) = self.sets.remove(&id) else { return };
                for key in set.distilled.peers.keys() {
                    self.cache.release(key);
                    self.forget(key, id);
                }
                self.dirty_sets.remove(&id);
                self.gone.extend(set.rows.into_keys());
            }
        }
    }

    /// The changes of rows that follow from everything handled since the last call.
    pub fn resolve(&mut self) -> Vec<RowOp> {
        let mut ops: Vec<RowOp> = std::mem::take(&mut self.gone).into_iter().map(RowOp::Delete).collect();
        for id in std::mem::take(&mut self.dirty_sets) {
            self.redistill(id);
            self.dirty_pairs.retain(|(set, _)| *set != id);
            let Some(set) = self.sets.get(&id) else { continue };
            let wanted = self.expand(id, set);
            if let Some(set) = self.sets.get_mut(&id) {
                let present = set.rows.keys().copied().collect();
                ops.extend(diff(&mut set.rows, present, wanted));
            }
        }
        for (id, remote) in std::mem::take(&mut self.dirty_pairs) {
            let Some(set) = self.sets.get(&id) else { continue };
            let wanted = self.expand_pair(id, set, remote);
            if let Some(set) = self.sets.get_mut(&id) {
                let present = Direction::BOTH
                    .into_iter()
                    .flat_map(|direction| rows_of(&set.rows, id, direction, remote))
                    .collect();
                ops.extend(diff(&mut set.rows, present, wanted));
            }
        }
        ops
    }

    /// The selectors in use.
    pub fn selectors(&self) -> &SelectorCache {
        &self.cache
    }

    fn touch(&mut self, id: NumericIdentity, changed: Vec<PeerKey>) {
        for key in changed {
            for set in self.users.get(&key).into_iter().flatten() {
                self.dirty_pairs.insert((*set, id));
            }
        }
    }

    fn redistill(&mut self, id: NumericIdentity) {
        let Some(set) = self.sets.get_mut(&id) else { return };
        let fresh = distill(id, &set.labels, self.rules.values(), &self.options);
        let before = std::mem::take(&mut set.distilled);
        for key in fresh.peers.keys() {
            self.cache.acquire(key);
            self.users.entry(key.clone()).or_default().insert(id);
        }
        set.distilled = fresh;
        // Released after the new ones are acquired: a selector in both is not evaluated again.
        let kept: BTreeSet<PeerKey> = set.distilled.peers.keys().cloned().collect();
        for key in before.peers.keys() {
            self.cache.release(key);
            if !kept.contains(key) {
                self.forget(key, id);
            }
        }
    }

    fn forget(&mut self, key: &PeerKey, id: NumericIdentity) {
        if let Some(users) = self.users.get_mut(key) {
            users.remove(&id);
            if users.is_empty() {
                self.users.remove(key);
            }
        }
    }

    fn expand(&self, id: NumericIdentity, set: &Set) -> BTreeMap<PolicyKey, PolicyMapRow> {
        let mut rows = BTreeMap::new();
        add(&mut rows, id, ANY, &set.distilled.any);
        for (key, allows) in &set.distilled.peers {
            for remote in self.cache.members(key) {
                add(&mut rows, id, remote, allows);
            }
        }
        rows
    }

    fn expand_pair(
        &self,
        id: NumericIdentity,
        set: &Set,
        remote: NumericIdentity,
    ) -> BTreeMap<PolicyKey, PolicyMapRow> {
        let mut rows = BTreeMap::new();
        for (key, allows) in &set.distilled.peers {
            if self.cache.selects(key, remote) {
                add(&mut rows, id, remote, allows);
            }
        }
        rows
    }
}

fn add(rows: &mut BTreeMap<PolicyKey, PolicyMapRow>, set: NumericIdentity, remote: NumericIdentity, allows: &[Allow]) {
    for allow in allows {
        for port in port_keys(&allow.ports) {
            let key = PolicyKey { set, direction: allow.direction, remote, port };
            let row = rows.entry(key).or_insert_with(|| PolicyMapRow {
                key,
                deny: false,
                precedence: ALLOW,
                derived_from: Arc::default(),
            });
            if !allow.origin.is_empty() && !row.derived_from.contains(&allow.origin) {
                let mut origins = row.derived_from.to_vec();
                origins.push(Arc::clone(&allow.origin));
                origins.sort();
                row.derived_from = origins.into();
            }
        }
    }
}

/// The keys of one peer in one direction: neighbours in the order of keys.
fn rows_of(
    rows: &BTreeMap<PolicyKey, PolicyMapRow>,
    set: NumericIdentity,
    direction: Direction,
    remote: NumericIdentity,
) -> impl Iterator<Item = PolicyKey> {
    let key = |port| PolicyKey { set, direction, remote, port };
    let (first, last) = (PortProto::new(0, Protocol::ALL[0]), PortProto::new(u16::MAX, Protocol::ALL[5]));
    rows.range(key(first)..=key(last)).map(|(key, _)| *key)
}

/// Makes the rows under the keys `present` equal to `wanted`; what that took.
fn diff(
    rows: &mut BTreeMap<PolicyKey, PolicyMapRow>,
    present: Vec<PolicyKey>,
    wanted: BTreeMap<PolicyKey, PolicyMapRow>,
) -> Vec<RowOp> {
    let mut ops = Vec::new();
    let gone: Vec<PolicyKey> = present.into_iter().filter(|key| !wanted.contains_key(key)).collect();
    for (key, row) in wanted {
        if rows.get(&key) != Some(&row) {
            rows.insert(key, row.clone());
            ops.push(RowOp::Upsert(row));
        }
    }
    for key in gone {
        rows.remove(&key);
        ops.push(RowOp::Delete(key));
    }
    ops
}

#[cfg(test)]
mod tests;
