//! `/identity`: security identities.

use serde::{Deserialize, Serialize};

/// An identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its number.
    pub id: u32,
    /// Its labels, `source:key=value`.
    pub labels: Vec<String>,
}
