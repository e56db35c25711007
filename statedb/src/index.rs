//! Secondary indexes: further keys under which a row is found.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::{Row, RowRef};

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

impl From<&str> for IndexKey {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// An index entry: ordered by its key, then by the row's primary key, which only ties look at.
pub(crate) struct Entry<R> {
    pub(crate) key: IndexKey,
    pub(crate) row: RowRef<R>,
}

impl<R> Clone for Entry<R> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), row: self.row.clone() }
    }
}

impl<R: Row> PartialEq for Entry<R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<R: Row> Eq for Entry<R> {}

impl<R: Row> PartialOrd for Entry<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R: Row> Ord for Entry<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then_with(|| self.row.key().cmp(&other.row.key()))
    }
}
