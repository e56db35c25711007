//! Table `nodes`: every node of every cluster, our own included.
//!
//! Written by the agent (its own node), `reflector` (own cluster) and `clustermesh` (remote clusters); read by
//! `ipcache`, `datapath` and the API.

use std::sync::Arc;

use model::{ClusterName, Node, NodeName};
use statedb::{Index, Row};

use crate::cell;

/// A node; `node.source` tells who said so.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRow {
    /// The node as its owner published it.
    pub node: Arc<Node>,
}

impl Row for NodeRow {
    type Key = (ClusterName, NodeName);
    const TABLE: &'static str = "nodes";
    const COLUMNS: &'static [&'static str] =
        &["Name", "IPv4 Address", "Endpoint CIDR", "IPv6 Address", "Endpoint CIDR", "Source"];
    const COUNTED: &'static [&'static str] = &["cluster"];
    const INDEXES: &'static [Index<Self>] =
        &[Index { name: "cluster", keys: |row, add| add(row.node.cluster.as_str().into()) }];

    fn key(&self) -> Self::Key {
        (self.node.cluster.clone(), self.node.name.clone())
    }

    fn cells(&self) -> Vec<String> {
        vec![
            format!("{}/{}", self.node.cluster, self.node.name),
            cell(self.node.internal_ipv4()),
            cell(self.node.ipv4_alloc_cidr),
            cell(self.node.internal_ipv6()),
            cell(self.node.ipv6_alloc_cidr),
            self.node.source.to_string(),
        ]
    }
}
