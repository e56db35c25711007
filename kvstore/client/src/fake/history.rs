//! Every revision of every key, until it is compacted away.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Cause, KeyEvent, KeyValue, LeaseId, Range, Revision};

#[derive(Clone)]
pub(super) struct History {
    revision: Revision,
    compacted: Revision,
    /// Each key's writes in order; `None` is a delete.
    keys: BTreeMap<Bytes, Vec<(Revision, Option<KeyValue>)>>,
}

// === impl History ===

impl History {
    /// An empty store of etcd stands at revision 1.
    pub(super) fn new() -> Self {
        Self { revision: 1, compacted: 0, keys: BTreeMap::new() }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }

    /// The revision of the next write.
    pub(super) fn begin(&mut self) -> Revision {
        self.revision += 1;
        self.revision
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.keys.get(key)?.last()?.1.as_ref()
    }

    pub(super) fn put(&mut self, key: Bytes, value: Bytes, lease: Option<LeaseId>, revision: Revision) {
        let (create_revision, version) = match self.get(&key) {
            Some(there) => (there.create_revision, there.version + 1),
            None => (revision, 1),
        };
        let kv = KeyValue { key: key.clone(), value, create_revision, mod_revision: revision, version, lease };
        self.keys.entry(key).or_default().push((revision, Some(kv)));
    }

    /// False if it was not there.
    pub(super) fn delete(&mut self, key: &[u8], revision: Revision) -> bool {
        match self.keys.get_mut(key) {
            Some(writes) if writes.last().is_some_and(|(_, kv)| kv.is_some()) => {
                writes.push((revision, None));
                true
            }
            _ => false,
        }
    }

    pub(super) fn current(&self) -> impl Iterator<Item = KeyValue> + '_ {
        self.keys.values().filter_map(|writes| writes.last()?.1.clone())
    }

    pub(super) fn range(&self, range: &Range) -> impl Iterator<Item = KeyValue> {
        let keys = self.keys.range(range.key.clone()..).take_while(|(key, _)| range.contains(key));
        keys.filter_map(|(_, writes)| writes.last()?.1.clone())
    }

    pub(super) fn range_at(&self, range: &Range, at: Revision) -> Result<Vec<KeyValue>, Cause> {
        if at > self.revision {
            return Err(Cause::FutureRevision);
        }
        if at < self.compacted {
            return Err(Cause::Compacted(self.compacted));
        }
        let keys = self.keys.range(range.key.clone()..).take_while(|(key, _)| range.contains(key));
        let as_of = |writes: &Vec<(Revision, Option<KeyValue>)>| {
            writes.iter().rev().find(|(revision, _)| *revision <= at).and_then(|(_, kv)| kv.clone())
        };
        Ok(keys.filter_map(|(_, writes)| as_of(writes)).collect())
    }

    /// In the order of the revisions.
    pub(super) fn events(&self, range: &Range, from: Revision) -> Vec<KeyEvent> {
        let keys = self.keys.range(range.key.clone()..).take_while(|(key, _)| range.contains(key));
        let mut events: Vec<(Revision, KeyEvent)> = keys
            .flat_map(|(key, writes)| {
                writes.iter().filter(|(revision, _)| *revision >= from).map(|(revision, kv)| {
                    let delete = KeyEvent::Delete { key: key.clone(), revision: *revision };
                    (*revision, kv.clone().map_or(delete, KeyEvent::Put))
                })
            })
            .collect();
        events.sort_by_key(|(revision, _)| *revision);
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// Forgets what no read at `revision` or later can see.
    pub(super) fn compact(&mut self, revision: Revision) -> Result<(), Cause> {
        if revision > self.revision {
            return Err(Cause::FutureRevision);
        }
        if revision <= self.compacted {
            return Err(Cause::Compacted(self.compacted));
        }
        self.compacted = revision;
        for writes in self.keys.values_mut() {
            let visible = writes.iter().rposition(|(at, _)| *at <= revision).unwrap_or(0);
            writes.drain(..visible);
        }
        self.keys.retain(|_, writes| !matches!(writes.as_slice(), [(at, None)] if *at <= revision));
        Ok(())
    }
}
