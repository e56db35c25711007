//! Writes: every change of one transaction has the same revision and a place within it.

use super::{
    Store,
    keys::KeyId,
    versions::{Fresh, NONE},
};
use crate::core::{span::Span, store::Kv};

/// What a change did to a key's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: KeyId,
    pub(crate) lease_before: i64,
    pub(crate) lease_after: i64,
}

// === impl Store ===

impl Store {
    /// Writes a key at the revision after the current one; `sub` is its place there.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8], lease: i64, sub: u32) -> Change {
        let revision = self.revision + 1;
        let known = self.index.find(&self.keys, key);
        let (id, older) = match known {
            Some(id) => (id, self.keys.newest(id)),
            None => (self.keys.insert(key, NONE, false), NONE),
        };
        let before = (older != NONE).then(|| *self.versions.get(older)).filter(|version| !version.is_delete());
        let (created, version) = before.map_or((revision, 1), |before| (before.created, before.version + 1));
        let number =
            self.versions.insert(&Fresh { revision, sub, key: id, created, version, lease, value, older }, true);
        self.keys.set_newest(id, number, true);
        match known {
            None => {
                self.index.insert(&self.keys, id);
                self.size += self.keys.cost(key);
            }
            Some(_) if before.is_none() => self.index.recount(&self.keys, id, true),
            Some(_) => {}
        }
        self.size += self.versions.cost(value.len());
        Change { key: id, lease_before: before.map_or(0, |before| before.lease), lease_after: lease }
    }

    /// Deletes the range's keys; `sub` is the first's place.
    pub(crate) fn delete(&mut self, span: &Span, mut sub: u32) -> Vec<Change> {
        let gone: Vec<KeyId> = match span.one() {
            Some(key) => self.index.find(&self.keys, key).into_iter().filter(|id| self.keys.is_live(*id)).collect(),
            None => self.names(span).filter(|id| self.keys.is_live(*id)).collect(),
        };
        let revision = self.revision + 1;
        gone.into_iter()
            .map(|id| {
                let older = self.keys.newest(id);
                let lease_before = self.versions.get(older).lease;
                let fresh = Fresh { revision, sub, key: id, created: 0, version: 0, lease: 0, value: &[], older };
                let number = self.versions.insert(&fresh, true);
                sub += 1;
                self.keys.set_newest(id, number, false);
                self.index.recount(&self.keys, id, false);
                self.size += self.versions.cost(0);
                Change { key: id, lease_before, lease_after: 0 }
            })
            .collect()
    }

    /// The transaction's changes are done: its revision is the current one.
    pub(crate) fn commit(&mut self) {
        self.revision += 1;
    }

    pub(crate) fn name(&self, id: KeyId) -> &[u8] {
        self.keys.spell(id)
    }

    /// The changes from a revision on, with each key's state before, as far as it is not compacted.
    pub(crate) fn changes(
        &self,
        from: i64,
    ) -> impl DoubleEndedIterator<Item = (Kv<'_>, Option<Kv<'_>>)> + ExactSizeIterator + '_ {
        self.versions.since(from).map(|number| {
            let version = self.versions.get(number);
            let before = self.versions.at(version.older, version.revision - 1).map(|older| self.versions.get(older));
            // As a read of the revision before would find it: not once that is compacted, and nothing for a key that
            // this revision creates, even if it deleted it first.
            let is_read = version.revision > self.compacted && version.created != version.revision;
            let before = before.filter(|before| is_read && !before.is_delete());
            (self.kv(version), before.map(|before| self.kv(before)))
        })
    }
}
