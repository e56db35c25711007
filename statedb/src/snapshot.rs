//! An immutable version of a table.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::state::State;
use crate::{IndexKey, Row, RowRef};

/// What a table held at one revision. Later writes do not show.
pub struct Snapshot<R: Row>(pub(crate) Arc<State<R>>);

impl<R: Row> Clone for Snapshot<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Row> Snapshot<R> {
    /// The revision of this version: it grows by one with every row written or deleted.
    pub fn revision(&self) -> u64 {
        self.0.revision
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.0.rows.is_empty()
    }

    /// The row of a primary key.
    pub fn get(&self, key: &R::Key) -> Option<&RowRef<R>> {
        self.0.rows.get(key)
    }

    /// All rows in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &RowRef<R>> {
        self.0.rows.iter().map(|(_, row)| row)
    }

    /// Rows from the first whose key is not below `start`, in the order of their keys.
    pub fn iter_from(&self, start: &R::Key) -> impl Iterator<Item = &RowRef<R>> {
        self.0.rows.iter_from(|key| key.cmp(start)).map(|(_, row)| row)
    }

    /// The neighbouring rows whose keys `at` calls `Equal`; it must be monotone over the order of keys.
    pub fn range(&self, at: impl Fn(&R::Key) -> Ordering) -> impl Iterator<Item = &RowRef<R>> {
        let rows = self.0.rows.iter_from(&at);
        rows.take_while(move |(key, _)| at(key) == Ordering::Equal).map(|(_, row)| row)
    }

    /// Rows under `key` of the secondary index `index`, the one written last at the end.
    ///
    /// # Panics
    ///
    /// When the table declares no such index.
    pub fn by(&self, index: &str, key: impl Into<IndexKey>) -> impl Iterator<Item = &RowRef<R>> {
        self.0.by(index, key.into())
    }

    /// How many rows stand under `key` of the secondary index `index`; no walk where the table counts it.
    ///
    /// # Panics
    ///
    /// When the table declares no such index.
    pub fn count(&self, index: &str, key: impl Into<IndexKey>) -> usize {
        self.0.count(index, key.into())
    }

    /// Whether every source that announced itself has delivered its first full state.
    pub fn is_initialised(&self) -> bool {
        self.0.pending.is_empty()
    }

    /// The sources whose first full state is still awaited.
    pub fn pending(&self) -> impl Iterator<Item = &str> {
        self.0.pending.iter().map(String::as_str)
    }

    /// The table as aligned text.
    pub fn text(&self) -> String {
        crate::print::text::<R>(self.iter())
    }

    /// The table as JSON: an array with an object a row.
    pub fn json(&self) -> serde_json::Value {
        crate::print::json::<R>(self.iter())
    }
}
