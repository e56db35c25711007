//! One version of a table: its trees. Cloning a version is O(1); changing a clone leaves the original alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::index::Entry;
use crate::{IndexKey, Row, RowRef, Tree};

pub(crate) struct State<R: Row> {
    pub(crate) revision: u64,
    pub(crate) rows: Tree<R::Key, RowRef<R>>,
    /// The same rows by the revision that wrote them: what a reader has not seen yet is a suffix.
    pub(crate) by_revision: Tree<u64, RowRef<R>>,
    /// Deleted rows by the revision that deleted them, kept until every change iterator has passed.
    pub(crate) graveyard: Tree<u64, RowRef<R>>,
    pub(crate) indexes: Vec<Tree<Entry, ()>>,
    /// Rows by key, for each index of [`Row::COUNTED`].
    counts: Vec<Tree<IndexKey, usize>>,
    /// Sources that announced themselves and have not finished their first full state.
    pub(crate) pending: Arc<BTreeSet<String>>,
}

// === impl State ===

impl<R: Row> Default for State<R> {
    fn default() -> Self {
        Self {
            revision: 0,
            rows: Tree::default(),
            by_revision: Tree::default(),
            graveyard: Tree::default(),
            indexes: R::INDEXES.iter().map(|_| Tree::default()).collect(),
            counts: R::COUNTED.iter().map(|_| Tree::default()).collect(),
            pending: Arc::default(),
        }
    }
}

impl<R: Row> Clone for State<R> {
    fn clone(&self) -> Self {
        Self {
            revision: self.revision,
            rows: self.rows.clone(),
            by_revision: self.by_revision.clone(),
            graveyard: self.graveyard.clone(),
            indexes: self.indexes.clone(),
            counts: self.counts.clone(),
            pending: Arc::clone(&self.pending),
        }
    }
}

impl<R: Row> State<R> {
    /// Writes a row at a new revision; `None` when an equal row is there already.
    pub(crate) fn upsert(&mut self, row: R) -> Option<Option<RowRef<R>>> {
        let key = row.key();
        if self.rows.get(&key).is_some_and(|old| **old == row) {
            return None;
        }
        self.revision += 1;
        let new = RowRef::new(self.revision, row);
        let old = self.rows.insert(key, new.clone());
        if let Some(old) = &old {
            self.unlink(old);
        }
        self.by_revision.insert(self.revision, new.clone());
        for (index, tree) in R::INDEXES.iter().zip(&mut self.indexes) {
            let mut counts = counted::<R>(index.name).map(|at| &mut self.counts[at]);
            (index.keys)(&new, &mut |key| {
                if let Some(counts) = &mut counts {
                    let before = counts.get(&key).copied().unwrap_or_default();
                    counts.insert(key.clone(), before + 1);
                }
                tree.insert(Entry { key, revision: self.revision }, ());
            });
        }
        Some(old)
    }

    /// Removes a row at a new revision. `bury` keeps it for readers that have yet to see the deletion.
    pub(crate) fn delete(&mut self, key: &R::Key, bury: bool) -> Option<RowRef<R>> {
        let old = self.rows.remove(key)?;
        self.revision += 1;
        self.unlink(&old);
        if bury {
            self.graveyard.insert(self.revision, old.clone());
        }
        Some(old)
    }

    fn unlink(&mut self, old: &RowRef<R>) {
        self.by_revision.remove(&old.revision());
        for (index, tree) in R::INDEXES.iter().zip(&mut self.indexes) {
            let mut counts = counted::<R>(index.name).map(|at| &mut self.counts[at]);
            (index.keys)(old, &mut |key| {
                if let Some(counts) = &mut counts {
                    match counts.get(&key).copied().unwrap_or_default() {
                        0 | 1 => drop(counts.remove(&key)),
                        more => drop(counts.insert(key.clone(), more - 1)),
                    }
                }
                tree.remove(&Entry { key, revision: old.revision() });
            });
        }
    }

    /// Drops deleted rows that every change iterator has seen.
    pub(crate) fn dig(&mut self, seen: u64) {
        while let Some((&revision, _)) = self.graveyard.iter().next() {
            if revision > seen {
                break;
            }
            self.graveyard.remove(&revision);
        }
    }

    /// Rows under `key` of the index called `name`, in the order of their revisions.
    ///
    /// # Panics
    ///
    /// When the table has no such index: a misspelt name in our own code.
    pub(crate) fn by<'a>(&'a self, name: &str, key: IndexKey) -> impl Iterator<Item = &'a RowRef<R>> + use<'a, R> {
        let position = R::INDEXES.iter().position(|index| index.name == name);
        let tree = &self.indexes[position.expect("the table declares the index that is asked for")];
        let start = Entry { key, revision: 0 };
        tree.iter_from(|entry| entry.cmp(&start))
            .take_while(move |(entry, ())| entry.key == start.key)
            .filter_map(|(entry, ())| self.by_revision.get(&entry.revision))
    }

    /// How many rows stand under `key` of the index called `name`: looked up where the index is counted, else walked.
    pub(crate) fn count(&self, name: &str, key: IndexKey) -> usize {
        match counted::<R>(name) {
            Some(at) => self.counts[at].get(&key).copied().unwrap_or_default(),
            None => self.by(name, key).count(),
        }
    }
}

fn counted<R: Row>(name: &str) -> Option<usize> {
    R::COUNTED.iter().position(|counted| *counted == name)
}
