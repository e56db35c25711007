//! Table `identities`: every security identity that may show up in a packet, with its labels.
//!
//! Written by the agent (reserved identities), `identity-allocator`/`reflector` (own cluster) and `clustermesh`
//! (remote clusters); read by `policy`, `ipcache`, the API and the monitor.

use model::{Labels, NumericIdentity};
use statedb::{Index, Row};

use crate::Origin;

/// An identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Its number.
    pub id: NumericIdentity,
    /// Its labels.
    pub labels: Labels,
    /// Who said so.
    pub origin: Origin,
    /// The store's revision that created its key; 0 where no store did. Of two numbers with one label set the older
    /// wins.
    pub create_revision: i64,
}

impl Row for Identity {
    type Key = NumericIdentity;
    const TABLE: &'static str = "identities";
    const COLUMNS: &'static [&'static str] = &["ID", "LABELS", "ORIGIN"];
    const COUNTED: &'static [&'static str] = &["cluster"];
    const INDEXES: &'static [Index<Self>] =
        &[Index { name: "cluster", keys: |row, add| add(row.origin.cluster.as_str().into()) }];

    fn key(&self) -> NumericIdentity {
        self.id
    }

    fn cells(&self) -> Vec<String> {
        vec![self.id.to_string(), self.labels.to_string(), self.origin.to_string()]
    }
}
