//! Which identities each selector in use selects, kept up to date per identity.
//!
//! A selector that requires a label value stands in the posting list of that label: an identity visits only the lists
//! of its own labels. What requires no value (`Exists`, entities) is visited by every identity; there are few.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use model::{Labels, NumericIdentity};

use crate::PeerKey;

/// The selectors in use and the identities known.
pub struct SelectorCache {
    own: Arc<str>,
    identities: BTreeMap<NumericIdentity, Labels>,
    selectors: BTreeMap<PeerKey, Selected>,
    /// Label key and value -> selectors that no identity without it can satisfy.
    postings: HashMap<(Arc<str>, Arc<str>), BTreeSet<PeerKey>>,
    unposted: BTreeSet<PeerKey>,
}

#[derive(Default)]
struct Selected {
    members: BTreeSet<NumericIdentity>,
    users: usize,
}

// === impl SelectorCache ===

impl SelectorCache {
    /// An empty cache of the cluster `own`.
    pub fn new(own: Arc<str>) -> Self {
        let (identities, selectors) = Default::default();
        Self { own, identities, selectors, postings: HashMap::new(), unposted: BTreeSet::new() }
    }

    /// Adds a user of a selector; the first one evaluates it against every identity.
    pub fn acquire(&mut self, key: &PeerKey) {
        if let Some(selected) = self.selectors.get_mut(key) {
            selected.users += 1;
            return;
        }
        let known = self.identities.iter();
        let members = known.filter(|(id, labels)| key.selects(**id, labels, &self.own)).map(|(id, _)| *id).collect();
        self.selectors.insert(key.clone(), Selected { members, users: 1 });
        match posted(key) {
            Some(values) => {
                for value in values {
                    self.postings.entry(value).or_default().insert(key.clone());
                }
            }
            None => {
                self.unposted.insert(key.clone());
            }
        }
    }

    /// Removes a user; the last one removes the selector.
    pub fn release(&mut self, key: &PeerKey) {
        let Some(selected) = self.selectors.get_mut(key) else { return };
        selected.users -= 1;
        if selected.users > 0 {
            return;
        }
        self.selectors.remove(key);
        self.unposted.remove(key);
        for value in posted(key).into_iter().flatten() {
            if let Some(list) = self.postings.get_mut(&value) {
                list.remove(key);
                if list.is_empty() {
                    self.postings.remove(&value);
                }
            }
        }
    }

    /// Learns an identity's labels; returns the selectors whose answer for it changed.
    pub fn upsert(&mut self, id: NumericIdentity, labels: Labels) -> Vec<PeerKey> {
        let mut visit = self.candidates(&labels);
        if let Some(before) = self.identities.get(&id) {
            if *before == labels {
                return Vec::new();
            }
            let before = before.clone();
            visit.extend(self.candidates(&before));
        }
        let mut changed = Vec::new();
        for key in visit {
            let selects = key.selects(id, &labels, &self.own);
            let Some(selected) = self.selectors.get_mut(&key) else { continue };
            let differs = if selects { selected.members.insert(id) } else { selected.members.remove(&id) };
            if differs {
                changed.push(key);
            }
        }
        self.identities.insert(id, labels);
        changed
    }

    /// Forgets an identity; returns the selectors that selected it.
    pub fn remove(&mut self, id: NumericIdentity) -> Vec<PeerKey> {
        let Some(labels) = self.identities.remove(&id) else { return Vec::new() };
        let mut changed = Vec::new();
        for key in self.candidates(&labels) {
            if self.selectors.get_mut(&key).is_some_and(|selected| selected.members.remove(&id)) {
                changed.push(key);
            }
        }
        changed
    }

    /// The labels of an identity.
    pub fn labels(&self, id: NumericIdentity) -> Option<&Labels> {
        self.identities.get(&id)
    }

    /// The identities that a selector in use selects.
    pub fn members(&self, key: &PeerKey) -> impl Iterator<Item = NumericIdentity> {
        self.selectors.get(key).into_iter().flat_map(|selected| selected.members.iter().copied())
    }

    /// Whether a selector in use selects an identity.
    pub fn selects(&self, key: &PeerKey, id: NumericIdentity) -> bool {
        self.selectors.get(key).is_some_and(|selected| selected.members.contains(&id))
    }

    /// Each selector in use with its users and members.
    pub fn selectors(&self) -> impl Iterator<Item = (&PeerKey, usize, &BTreeSet<NumericIdentity>)> {
        self.selectors.iter().map(|(key, selected)| (key, selected.users, &selected.members))
    }

    /// The selectors that labels could satisfy.
    fn candidates(&self, labels: &Labels) -> BTreeSet<PeerKey> {
        let mut found = self.unposted.clone();
        for label in labels {
            if let Some(list) = self.postings.get(&(Arc::from(label.key()), Arc::from(label.value()))) {
                found.extend(list.iter().cloned());
            }
        }
        found
    }
}

/// The label values under which a selector is posted: those of its most selective requirement.
fn posted(key: &PeerKey) -> Option<Vec<(Arc<str>, Arc<str>)>> {
    let selector = match key {
        PeerKey::Endpoints(selector) => selector,
        // Every range carries the world of its family.
        PeerKey::Cidr(cidr) => return Some(vec![(cidr.world.name().into(), Arc::default())]),
        PeerKey::Entity(_) => return None,
    };
    // The namespace and the cluster stand in nearly every selector: any other requirement splits better.
    let common = |key: &str| key.starts_with("io.kubernetes.pod.") || key.starts_with("io.cilium.k8s.policy.");
    let (label, values) = selector.required().min_by_key(|(key, values)| (common(&key.key), values.len()))?;
    Some(values.iter().map(|value| (Arc::clone(&label.key), Arc::clone(value))).collect())
}

#[cfg(test)]
mod tests {
    use model::{CidrPeer, Entity, Families, Prefix, Requirement, ReservedIdentity, Selector, SelectorKey};
    use proptest::prelude::*;

    use super::*;

    fn labels(app: u8, tier: u8) -> Labels {
        if tier == 0 {
            let both = Families { ipv4: true, ipv6: true };
            return both.labels(Prefix::try_new([10, app, 0, 0].into(), 8 + 8 * (app % 2)).unwrap());
        }
        format!("k8s:app=a{app},k8s:tier=t{tier}").split(',').map(|label| label.parse().unwrap()).collect()
    }

    fn range(number: u8) -> CidrPeer {
        let cidr = if number.is_multiple_of(2) { "0.0.0.0/0" } else { "10.0.0.0/8" };
        let except = vec!["10.1.0.0/16".parse().unwrap()];
        CidrPeer { cidr: cidr.parse().unwrap(), except, world: ReservedIdentity::WorldIpv4 }
    }

    fn selector(kind: u8, app: u8) -> PeerKey {
        let key = SelectorKey::k8s("app");
        let value = format!("a{app}");
        let requirement = match kind % 5 {
            0 => Requirement::is(key, &value),
            1 => Requirement::is_in(key, [value.as_str(), "a0"]),
            2 => Requirement::not_in(key, [value.as_str()]),
            3 => Requirement::exists(SelectorKey::any("tier")),
            4 if app > 2 => return PeerKey::Cidr(range(app)),
            _ => return PeerKey::Entity(Entity::World),
        };
        PeerKey::Endpoints(Selector::try_new([requirement]).unwrap())
    }

    proptest! {
        /// Members kept step by step equal members computed afresh, and every difference was reported.
        #[test]
        fn incremental_equals_brute_force(steps in proptest::collection::vec((0u8..4, 0u8..6, 0u8..4, 0u8..5), 0..120)) {
            let mut cache = SelectorCache::new("east".into());
            let mut identities: BTreeMap<NumericIdentity, Labels> = BTreeMap::new();
            let mut users: Vec<PeerKey> = Vec::new();
            for (what, a, b, c) in steps {
                let id = NumericIdentity::new(65536 + u32::from(a));
                match what {
                    0 => {
                        let before = cache.selectors().map(|(key, _, set)| (key.clone(), set.contains(&id))).collect::<Vec<_>>();
                        let changed = cache.upsert(id, labels(b, c));
                        for (key, was) in before {
                            prop_assert_eq!(changed.contains(&key), cache.selects(&key, id) != was);
                        }
                        identities.insert(id, labels(b, c));
                    }
                    1 => { cache.remove(id); identities.remove(&id); }
                    2 => { let key = selector(c, a); cache.acquire(&key); users.push(key); }
                    _ => if let Some(key) = users.pop() { cache.release(&key) },
                }
                for key in &users {
                    let fresh = identities.iter().filter(|(id, labels)| key.selects(**id, labels, "east"));
                    prop_assert!(cache.members(key).eq(fresh.map(|(id, _)| *id)));
                }
            }
            for key in users.drain(..) { cache.release(&key) }
            prop_assert_eq!(cache.selectors().count(), 0);
            prop_assert!(cache.postings.is_empty() && cache.unposted.is_empty());
        }
    }
}
