//! `/map`: the kernel's maps and what was written to them.

use serde::{Deserialize, Serialize};

/// A map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Map {
    /// Its name.
    pub name: String,
    /// Rows in it.
    pub entries: usize,
    /// Rows that it holds at most.
    pub capacity: usize,
    /// Rows that this agent wrote.
    pub updates: u64,
    /// Rows that it deleted.
    pub deletes: u64,
    /// Writes and deletes that the kernel refused.
    pub errors: u64,
    /// The last refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A row of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapRow {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A write to a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MapEvent {
    /// Grows with every write.
    pub number: u64,
    /// Milliseconds since 1970.
    pub time: u64,
    /// `update` or `delete`.
    pub action: String,
    /// The key.
    pub key: String,
    /// The value; empty for a delete.
    pub value: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
