//! What a type must say of itself to be stored in a table.

use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

use crate::Index;

/// An immutable value with a primary key.
///
/// Equality decides whether a write is a change.
pub trait Row: Clone + PartialEq + Send + Sync + 'static {
    /// The primary key; the order of iteration.
    type Key: Ord + Clone + Debug + Send + Sync + 'static;

    /// The table's name, as `causeway statedb show` takes it: lower case, words joined by `-`.
    const TABLE: &'static str;
    /// Column headings, one for each cell.
    const COLUMNS: &'static [&'static str];
    /// Secondary indexes. A row may stand under any number of keys of each.
    const INDEXES: &'static [Index<Self>] = &[];
    /// Indexes of few keys whose rows are counted as they come and go: a count is then no walk.
    const COUNTED: &'static [&'static str] = &[];

    /// The row's primary key.
    fn key(&self) -> Self::Key;

    /// The row as text, a cell a column.
    fn cells(&self) -> Vec<String>;
}

/// A stored row with the revision that wrote it. Clones share.
pub struct RowRef<R>(Arc<Stored<R>>);

pub(crate) struct Stored<R> {
    pub(crate) revision: u64,
    pub(crate) row: R,
}

impl<R> RowRef<R> {
    pub(crate) fn new(revision: u64, row: R) -> Self {
        Self(Arc::new(Stored { revision, row }))
    }

    /// The table's revision when this row was written.
    pub fn revision(&self) -> u64 {
        self.0.revision
    }
}

impl<R> Clone for RowRef<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Deref for RowRef<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.0.row
    }
}

impl<R: Debug> Debug for RowRef<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}@{}", self.0.row, self.0.revision)
    }
}
