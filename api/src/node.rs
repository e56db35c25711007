//! `/cluster/nodes`: the nodes of every cluster.

use serde::{Deserialize, Serialize};

use crate::Addressing;

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Node {
    /// `<cluster>/<name>`.
    pub name: String,
    /// Its own addresses with the ranges of its pods.
    pub primary_address: Addressing,
    /// Who said so.
    pub source: String,
}
