//! The keys that the reader holds, in as little memory as possible: there are hundreds of thousands.

use std::collections::HashMap;

use bytes::Bytes;

use crate::Revision;

/// 24 bytes and the key's own for each key.
#[derive(Debug, Default)]
pub(super) struct Known {
    keys: HashMap<Box<[u8]>, Entry>,
}

/// The revision with two flags beneath it.
#[derive(Debug, Clone, Copy)]
struct Entry(i64);

/// Seen in the list that is going on.
const SEEN: i64 = 1;

/// Of a store that is not proven to be the present one.
const UNPROVEN: i64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Was {
    Absent,
    /// At another revision, or in another store.
    Other,
    Same,
}

// === impl Known ===

impl Known {
    pub(super) fn see(&mut self, key: &[u8], revision: Revision) -> Was {
        let entry = Entry(revision << 2 | SEEN);
        let Some(there) = self.keys.get_mut(key) else {
            self.keys.insert(key.into(), entry);
            return Was::Absent;
        };
        let same = there.0 & UNPROVEN == 0 && there.0 >> 2 == revision;
        *there = entry;
        if same { Was::Same } else { Was::Other }
    }

    /// False if it was not there.
    pub(super) fn forget(&mut self, key: &[u8]) -> bool {
        self.keys.remove(key).is_some()
    }

    /// Forgets what an unfinished list has seen.
    pub(super) fn start_list(&mut self) {
        self.keys.values_mut().for_each(|entry| entry.0 &= !SEEN);
    }

    pub(super) fn distrust(&mut self) {
        self.keys.values_mut().for_each(|entry| entry.0 |= UNPROVEN);
    }

    /// Keys of this store that the finished list did not have.
    pub(super) fn take_absent(&mut self) -> impl Iterator<Item = Bytes> {
        self.keys.extract_if(|_, entry| entry.0 & (SEEN | UNPROVEN) == 0).map(|(key, _)| Bytes::from(key))
    }

    pub(super) fn take_unproven(&mut self) -> impl Iterator<Item = Bytes> {
        self.keys.extract_if(|_, entry| entry.0 & UNPROVEN != 0).map(|(key, _)| Bytes::from(key))
    }

    pub(super) fn unproven(&self) -> usize {
        self.keys.values().filter(|entry| entry.0 & UNPROVEN != 0).count()
    }
}
