//! Secondary indexes: further keys under which a row is found.

use std::sync::Arc;

/// One secondary index of a table.
pub struct Index<R: 'static> {
    /// Its name, for error messages and docs.
    pub name: &'static str,
    /// Adds every key under which the row stands.
    pub keys: fn(&R, &mut dyn FnMut(IndexKey)),
}

/// A key in a secondary index: a number, or text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum IndexKey {
    /// A number.
    Number(u64),
    /// Text; shared where the row already shares it.
    Text(Arc<str>),
}

impl From<u32> for IndexKey {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<Arc<str>> for IndexKey {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for IndexKey {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// An index entry: a key, and the revision that wrote the row, by which the row is found.
///
/// Not the row itself: a write copies whole nodes, and a reference more to each of their rows would touch memory all
/// over the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) key: IndexKey,
    pub(crate) revision: u64,
}
