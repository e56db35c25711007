//! Tables `identity-requests` and `identity-grants`: which label sets this node uses, and the numbers they got.
//!
//! Requests are written by `endpoint` and read by `identity-allocator`, which writes the grants. A request that goes
//! away releases this node's reference.

use model::{Labels, NumericIdentity};
use statedb::Row;

/// A label set that some endpoint of this node has.
#[derive(Debug, Clone, PartialEq)]
pub struct IdentityRequest {
    /// The labels.
    pub labels: Labels,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct IdentityGrant {
    /// The labels that were asked for.
    pub labels: Labels,
    /// The answer so far.
    pub grant: Grant,
}

/// An answer of the allocator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// The number, held by this node.
    Identity(NumericIdentity),
    /// The last try failed and will be repeated; why.
    Failed(String),
}

impl Row for IdentityRequest {
    type Key = Labels;
    const TABLE: &'static str = "identity-requests";
    const COLUMNS: &'static [&'static str] = &["Labels"];

    fn key(&self) -> Labels {
        self.labels.clone()
    }

    fn cells(&self) -> Vec<String> {
        vec![self.labels.to_string()]
    }
}

impl Row for IdentityGrant {
    type Key = Labels;
    const TABLE: &'static str = "identity-grants";
    const COLUMNS: &'static [&'static str] = &["Labels", "ID", "Error"];

    fn key(&self) -> Labels {
        self.labels.clone()
    }

    fn cells(&self) -> Vec<String> {
        let (id, error) = match &self.grant {
            Grant::Identity(id) => (id.to_string(), String::new()),
            Grant::Failed(error) => (String::new(), error.clone()),
        };
        vec![self.labels.to_string(), id, error]
    }
}
