//! The whole store, key by key, for a checkpoint: out in slices, in at once.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{
    Store,
    index::Index,
    versions::{Fresh, NONE},
};
use crate::core::span::Span;

/// A key and its versions, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyDump {
    pub(crate) key: Bytes,
    pub(crate) versions: Vec<VersionDump>,
}

/// Created and version are 0 for a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionDump {
    pub(crate) revision: i64,
    pub(crate) sub: u32,
    pub(crate) created: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
    pub(crate) value: Bytes,
}

// === impl Store ===

impl Store {
    /// Shows keys from `start` on, with all that was there at the revision, until told to stop; then where to go on.
    pub(crate) fn dump(
        &self,
        start: &Bytes,
        revision: i64,
        mut show: impl FnMut(KeyDump) -> ControlFlow<()>,
    ) -> Option<Bytes> {
        let span = Span::new(start.clone(), Bytes::from_static(&[0]));
        let mut stopped = false;
        for id in self.names(&span) {
            let key = Bytes::copy_from_slice(self.keys.spell(id));
            if stopped {
                return Some(key);
            }
            let mut versions = Vec::new();
            let mut next = self.versions.at(self.keys.newest(id), revision);
            while let Some(number) = next {
                let version = self.versions.get(number);
                versions.push(VersionDump {
                    revision: version.revision,
                    sub: version.sub,
                    created: version.created,
                    version: version.version,
                    lease: version.lease,
                    value: Bytes::copy_from_slice(self.versions.value(version)),
                });
                next = (version.older != NONE).then_some(version.older);
            }
            versions.reverse();
            stopped = !versions.is_empty() && show(KeyDump { key, versions }).is_break();
        }
        None
    }

    /// A store with these keys, which come in order. `each` is told of every live key's lease.
    pub(crate) fn load(
        revision: i64,
        compacted: i64,
        keys: impl Iterator<Item = KeyDump>,
        mut leased: impl FnMut(i64, super::keys::KeyId),
    ) -> Self {
        let mut store = Self::new();
        (store.revision, store.compacted, store.swept) = (revision, compacted, super::NEVER);
        let mut ids = Vec::new();
        for dump in keys {
            let id = store.keys.insert(&dump.key, NONE, false);
            store.size += store.keys.cost(&dump.key);
            let mut older = NONE;
            for version in &dump.versions {
                let fresh = Fresh {
                    revision: version.revision,
                    sub: version.sub,
                    key: id,
                    created: version.created,
                    version: version.version,
                    lease: version.lease,
                    value: &version.value,
                    older,
                };
                // A version that nothing may ask a watch for is not logged, but one that is to be swept is.
                let live_and_only = dump.versions.len() == 1 && version.version != 0;
                older = store.versions.insert(&fresh, version.revision >= compacted || !live_and_only);
                store.size += store.versions.cost(version.value.len());
            }
            if let Some(newest) = dump.versions.last() {
                store.keys.set_newest(id, older, newest.version != 0);
                if newest.version != 0 && newest.lease != 0 {
                    leased(newest.lease, id);
                }
            }
            ids.push(id);
        }
        store.index = Index::bulk(&store.keys, &ids);
        store.versions.sort_log();
        store
    }
}
