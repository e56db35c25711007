//! Reads: one key, or a page of a range, at a revision.

use std::ops::ControlFlow;

use super::{
    Store,
    keys::KeyId,
    versions::{NONE, Version},
};
use crate::core::span::Span;

/// A key as it was at a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kv<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) created: i64,
    pub(crate) modified: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
}

/// Which of a range's keys are wanted. 0: no bound.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Select {
    pub(crate) min_modified: i64,
    pub(crate) max_modified: i64,
    pub(crate) min_created: i64,
    pub(crate) max_created: i64,
}

/// By what a whole answer is put in order, when not by key upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Key,
    Version,
    Created,
    Modified,
    Value,
}

/// How far a range was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// To its end.
    Done,
    /// There is more, from this key on.
    Next(bytes::Bytes),
}

// === impl Store ===

impl Store {
    pub(crate) fn get(&self, key: &[u8], revision: i64) -> Option<Kv<'_>> {
        let id = self.index.find(&self.keys, key)?;
        self.kv_at(id, revision)
    }

    /// Shows each key of the range at the revision, in order, until told to stop.
    pub(crate) fn each<'a>(
        &'a self,
        span: &Span,
        revision: i64,
        mut show: impl FnMut(Kv<'a>) -> ControlFlow<()>,
    ) -> Page {
        if let Some(key) = span.one() {
            if let Some(kv) = self.get(key, revision) {
                let _ = show(kv);
            }
            return Page::Done;
        }
        for id in self.names(span) {
            if let Some(kv) = self.kv_at(id, revision)
                && show(kv).is_break()
            {
                return Page::Next(bytes::Bytes::copy_from_slice(self.keys.spell(id)));
            }
        }
        Page::Done
    }

    /// How many keys the range had at the revision: from the index's counts now, corrected by what changed since.
    pub(crate) fn count(&self, span: &Span, revision: i64) -> i64 {
        if let Some(key) = span.one() {
            return i64::from(self.get(key, revision).is_some());
        }
        if span.is_empty() {
            return 0;
        }
        let rank = |key| self.index.rank(&self.keys, key);
        let upto = span.before().map_or_else(|| self.index.live(&self.keys), rank);
        let now = (upto - rank(span.start())) as i64;
        // A key is corrected once, at its first change after the revision.
        let first_change =
            |version: &&Version| version.older == NONE || self.versions.get(version.older).revision <= revision;
        self.versions
            .since(revision + 1)
            .map(|number| self.versions.get(number))
            .filter(first_change)
            .filter(|version| span.contains(self.keys.spell(version.key)))
            .fold(now, |count, version| {
                let was = version.older != NONE && !self.versions.get(version.older).is_delete();
                count + i64::from(was) - i64::from(self.keys.is_live(version.key))
            })
    }

    fn kv_at(&self, id: KeyId, revision: i64) -> Option<Kv<'_>> {
        let number = self.versions.at(self.keys.newest(id), revision)?;
        let version = self.versions.get(number);
        (!version.is_delete()).then(|| self.kv(version))
    }

    pub(super) fn kv<'a>(&'a self, version: &'a Version) -> Kv<'a> {
        Kv {
            key: self.keys.spell(version.key),
            value: self.versions.value(version),
            created: version.created,
            modified: version.revision,
            version: version.version,
            lease: version.lease,
        }
    }
}

// === impl Select ===

impl Select {
    pub(crate) fn is_everything(&self) -> bool {
        self.min_modified == 0 && self.max_modified == 0 && self.min_created == 0 && self.max_created == 0
    }

    pub(crate) fn wants(&self, kv: &Kv) -> bool {
        let within = |at: i64, min: i64, max: i64| (min == 0 || at >= min) && (max == 0 || at <= max);
        within(kv.modified, self.min_modified, self.max_modified)
            && within(kv.created, self.min_created, self.max_created)
    }
}

// === impl Order ===

impl Order {
    pub(crate) fn compare(self, a: &Kv, b: &Kv) -> std::cmp::Ordering {
        match self {
            Self::Key => a.key.cmp(b.key),
            Self::Version => a.version.cmp(&b.version),
            Self::Created => a.created.cmp(&b.created),
            Self::Modified => a.modified.cmp(&b.modified),
            Self::Value => a.value.cmp(b.value),
        }
    }
}
