//! `/statedb`: the agent's tables.

use serde::{Deserialize, Serialize};

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// How many rows it holds.
    pub rows: usize,
    /// Its revision.
    pub revision: u64,
    /// The sources whose first full state is still awaited.
    pub pending: Vec<String>,
}
