//! Table `node-objects`: Node and CiliumNode objects, for what the record of our own node says.
//!
//! Written by `k8s`; read by the agent.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use model::{NodeAddress, NodeName, Prefix};
use statedb::Row;

/// What an object says of its node; what it does not say is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeObject {
    /// Its name.
    pub name: NodeName,
    /// Which object.
    pub kind: NodeObjectKind,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, of those that other nodes may see.
    pub annotations: BTreeMap<String, String>,
    /// Its addresses, in the order of the object.
    pub addresses: Vec<NodeAddress>,
    /// Ranges of its pods, of both families.
    pub pod_cidrs: Vec<Prefix>,
    /// Where its health endpoint answers.
    pub ipv4_health_ip: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub ipv6_health_ip: Option<Ipv6Addr>,
    /// From where its ingress proxy speaks.
    pub ipv4_ingress_ip: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub ipv6_ingress_ip: Option<Ipv6Addr>,
    /// Index of the key that it encrypts with; 0 for none.
    pub encryption_key: u8,
    /// Its WireGuard key.
    pub wireguard_pub_key: Arc<str>,
}

/// Ordered as they are applied: what the later says of the same thing counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeObjectKind {
    /// Kubernetes' own.
    Node,
    /// Cilium's.
    CiliumNode,
}

// === impl NodeObject ===

impl NodeObject {
    /// An object that says nothing.
    pub fn new(kind: NodeObjectKind, name: NodeName) -> Self {
        Self {
            name,
            kind,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            addresses: Vec::new(),
            pod_cidrs: Vec::new(),
            ipv4_health_ip: None,
            ipv6_health_ip: None,
            ipv4_ingress_ip: None,
            ipv6_ingress_ip: None,
            encryption_key: 0,
            wireguard_pub_key: Arc::default(),
        }
    }
}

impl Row for NodeObject {
    type Key = (NodeName, NodeObjectKind);
    const TABLE: &'static str = "node-objects";
    const COLUMNS: &'static [&'static str] = &["NAME", "KIND", "ADDRESSES", "POD CIDRS", "LABELS"];

    fn key(&self) -> Self::Key {
        (self.name.clone(), self.kind)
    }

    fn cells(&self) -> Vec<String> {
        let addresses = self.addresses.iter().map(|address| format!("{}={}", address.kind, address.ip));
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}"));
        vec![
            self.name.to_string(),
            format!("{:?}", self.kind),
            addresses.collect::<Vec<_>>().join(","),
            self.pod_cidrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            labels.collect::<Vec<_>>().join(","),
        ]
    }
}
