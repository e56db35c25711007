//! The agent's local API: the types and paths of HTTP/1.1 over its Unix socket, as Cilium's agent names them, and the
//! events of `monitor.sock`.
//!
//! Shared by the agent, which serves it, and by the CNI plugin and the CLI, which call it. Only shapes live here: no
//! sockets, no conversion from our own nouns.

mod address;
mod cluster_mesh;
mod config;
mod endpoint;
mod endpoint_log;
mod event;
mod healthz;
mod identity;
mod ip;
mod ipam;
mod map;
mod metric;
mod node;
pub mod paths;
mod policy;
mod policy_trace;
mod service;
mod statedb;

pub use address::{AddressPair, FamilyAddress};
pub use cluster_mesh::{ClusterMesh, RemoteCluster, RemoteConfig, RemoteSynced};
pub use config::{Addressing, Config};
pub use endpoint::{
    Endpoint, EndpointChangeRequest, EndpointNetworking, EndpointPolicy, EndpointStatus, ExternalIdentifiers,
};
pub use endpoint_log::{EndpointChange, EndpointHealth};
pub use event::{Event, EventTuple, LabelledIdentity};
pub use healthz::{
    Controller, Healthz, IpamStatus, KvstoreDetail, MapUse, RejectedCount, SourceStaleness, State, Status, Versions,
};
pub use identity::Identity;
pub use ip::{IpEntry, IpMetadata};
pub use ipam::IpamResponse;
pub use map::{Map, MapEvent, MapRow};
pub use metric::Metric;
pub use node::Node;
pub use policy::{PolicyEntry, Selector};
pub use policy_trace::{PolicyTrace, TraceDirection, TraceParty, TraceVerdict};
pub use service::{Backend, FrontendAddress, Service};
pub use statedb::Table;

/// What a failed call answers: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Error {
    /// What was tried, on what, which rule, how to fix it.
    pub message: String,
}
