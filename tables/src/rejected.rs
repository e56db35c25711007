//! Table `rejected`: keys of a store that broke a rule and are quarantined.
//!
//! Written by `reflector` and `clustermesh`; read by the API and the metrics.

use std::sync::Arc;

use model::ClusterName;
use statedb::{Index, Row};

/// A key that we do not use, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// The cluster whose store holds it.
    pub cluster: ClusterName,
    /// The whole key.
    pub key: Arc<str>,
    /// What, where, which rule.
    pub error: Arc<str>,
}

impl Row for Rejected {
    type Key = (ClusterName, Arc<str>);
    const TABLE: &'static str = "rejected";
    const COLUMNS: &'static [&'static str] = &["CLUSTER", "KEY", "ERROR"];
    const COUNTED: &'static [&'static str] = &["cluster"];
    const INDEXES: &'static [Index<Self>] =
        &[Index { name: "cluster", keys: |row, add| add(row.cluster.as_str().into()) }];

    fn key(&self) -> Self::Key {
        (self.cluster.clone(), Arc::clone(&self.key))
    }

    fn cells(&self) -> Vec<String> {
        vec![self.cluster.to_string(), self.key.to_string(), self.error.to_string()]
    }
}
