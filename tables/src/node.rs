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
    const COLUMNS: &'static [&'static str] = &[
        "Name",
        "IPv4 Address",
        "IPv4 Endpoint CIDRs",
        "IPv6 Address",
        "IPv6 Endpoint CIDRs",
        "Health",
        "Ingress",
        "Source",
    ];
    const COUNTED: &'static [&'static str] = &["cluster"];
    const INDEXES: &'static [Index<Self>] =
        &[Index { name: "cluster", keys: |row, add| add(row.node.cluster.as_str().into()) }];

    fn key(&self) -> Self::Key {
        (self.node.cluster.clone(), self.node.name.clone())
    }

    fn cells(&self) -> Vec<String> {
        let cidrs = |ipv4| join(self.node.pod_cidrs().filter(|cidr| cidr.is_ipv4() == ipv4));
        vec![
            format!("{}/{}", self.node.cluster, self.node.name),
            cell(self.node.internal_ipv4()),
            cidrs(true),
            cell(self.node.internal_ipv6()),
            cidrs(false),
            join(self.node.health_ips()),
            join(self.node.ingress_ips()),
            self.node.source.to_string(),
        ]
    }
}

fn join<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Two columns had one name, and JSON output lost the first.
    #[test]
    fn every_column_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = NodeRow::COLUMNS.iter().copied().collect();
        assert_eq!(names.len(), NodeRow::COLUMNS.len());
        let node = Node::new("a".parse().unwrap(), "east".parse().unwrap(), Default::default());
        assert_eq!(NodeRow { node: Arc::new(node) }.cells().len(), NodeRow::COLUMNS.len());
    }
}
