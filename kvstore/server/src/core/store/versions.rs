//! Every version of every key that a read or a watch may still ask for, and the order in which they were written.

use std::collections::VecDeque;

use super::{
    arena::Arena,
    bytes_slab::{BytesSlab, Handle},
    keys::KeyId,
};

/// No version: the end of a chain.
pub(crate) const NONE: u32 = u32::MAX;

/// One write of one key. A key is written at most once a revision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version {
    pub(crate) revision: i64,
    /// The place among the changes of its revision.
    pub(crate) sub: u32,
    pub(crate) key: KeyId,
    /// Both 0 for a deletion.
    pub(crate) created: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
    value: Handle,
    value_len: u32,
    pub(crate) older: u32,
    pub(crate) newer: u32,
}

/// What a version is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fresh<'a> {
    pub(crate) revision: i64,
    pub(crate) sub: u32,
    pub(crate) key: KeyId,
    pub(crate) created: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
    pub(crate) value: &'a [u8],
    pub(crate) older: u32,
}

#[derive(Debug)]
pub(crate) struct Versions {
    rows: Arena<Version>,
    values: BytesSlab,
    /// Revision and version of each change from the compact revision on.
    log: VecDeque<(i64, u32)>,
}

// === impl Version ===

impl Version {
    pub(crate) fn is_delete(&self) -> bool {
        self.version == 0
    }
}

// === impl Versions ===

impl Versions {
    pub(crate) fn new() -> Self {
        Self { rows: Arena::new(), values: BytesSlab::new(), log: VecDeque::new() }
    }

    /// Adds a version behind `older`; logs it if a watch may ask for it.
    pub(crate) fn insert(&mut self, fresh: &Fresh, logged: bool) -> u32 {
        let value = self.values.insert(fresh.value);
        let number = self.rows.insert(Version {
            revision: fresh.revision,
            sub: fresh.sub,
            key: fresh.key,
            created: fresh.created,
            version: fresh.version,
            lease: fresh.lease,
            value,
            value_len: fresh.value.len() as u32,
            older: fresh.older,
            newer: NONE,
        });
        if fresh.older != NONE {
            self.rows.get_mut(fresh.older).newer = number;
        }
        if logged {
            self.log.push_back((fresh.revision, number));
        }
        number
    }

    pub(crate) fn get(&self, number: u32) -> &Version {
        self.rows.get(number)
    }

    pub(crate) fn value(&self, version: &Version) -> &[u8] {
        self.values.get(version.value, version.value_len)
    }

    /// Takes a version out of its chain.
    pub(crate) fn remove(&mut self, number: u32) -> Version {
        let version = *self.rows.get(number);
        self.values.remove(version.value);
        self.rows.remove(number);
        if version.older != NONE {
            self.rows.get_mut(version.older).newer = version.newer;
        }
        if version.newer != NONE {
            self.rows.get_mut(version.newer).older = version.older;
        }
        version
    }

    /// The newest version from this one down that was there at the revision.
    pub(crate) fn at(&self, mut number: u32, revision: i64) -> Option<u32> {
        while number != NONE {
            let version = self.rows.get(number);
            if version.revision <= revision {
                return Some(number);
            }
            number = version.older;
        }
        None
    }

    /// Changes from a revision on, in order.
    pub(crate) fn since(&self, revision: i64) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + '_ {
        let start = self.log.partition_point(|(at, _)| *at < revision);
        self.log.range(start..).map(|(_, number)| *number)
    }

    pub(crate) fn logged_before(&self, revision: i64) -> usize {
        self.log.partition_point(|(at, _)| *at < revision)
    }

    pub(crate) fn oldest_logged(&self) -> Option<(i64, u32)> {
        self.log.front().copied()
    }

    pub(crate) fn forget_oldest(&mut self) {
        self.log.pop_front();
    }

    /// After a load, which comes in the order of keys.
    pub(crate) fn sort_log(&mut self) {
        let rows = &self.rows;
        self.log.make_contiguous().sort_unstable_by_key(|(revision, number)| (*revision, rows.get(*number).sub));
    }

    /// Bytes that a version with a value of this length takes.
    pub(crate) fn cost(&self, value: usize) -> u64 {
        self.values.cost(value) + (size_of::<Version>() + size_of::<(i64, u32)>()) as u64
    }
}
