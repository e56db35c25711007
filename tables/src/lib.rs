//! The tables that two crates share, one file each: row, key, indexes, printer, and who writes and reads it.
//!
//! ```text
//!   imported            local                      computed (desired)            outward
//!   nodes      ┐        endpoints    ┐             policy_map   ┐
//!   identities ├ etcd   pods         ├ CNI, k8s    ipcache      ├ datapath       exports -> etcd
//!   ips        │        namespaces   │             frontends    ┘
//!   global_services     services, backends, rules  policy_progress
//! ```
//!
//! Only shapes live here: no logic, no I/O. A table read by one crate alone lives in that crate.

mod alarm;
mod backends;
mod cidr_identity;
mod endpoint;
mod export;
mod frontend;
mod global_service;
mod identity;
mod identity_request;
mod ip;
mod ip_pool;
mod ipcache;
mod namespace;
mod node;
mod node_object;
mod origin;
mod pod;
mod policy_map;
mod policy_progress;
mod policy_rule;
mod pool_choice;
mod realized;
mod rejected;
mod remote_cluster;
mod remote_slice;
mod service;

pub use alarm::Alarm;
pub use backends::{BackendSet, BackendSource};
pub use cidr_identity::CidrIdentity;
pub use endpoint::{Endpoint, EndpointState, InvalidMac, MacAddr};
pub use export::Export;
pub use frontend::Frontend;
pub use global_service::RemoteService;
pub use identity::Identity;
pub use identity_request::{Grant, IdentityGrant, IdentityRequest};
pub use ip::IpClaim;
pub use ip_pool::{IpPool, PoolRanges};
pub use ipcache::IpcacheRow;
pub use namespace::Namespace;
pub use node::NodeRow;
pub use node_object::{NodeObject, NodeObjectKind};
pub use origin::Origin;
pub use pod::Pod;
pub use policy_map::{PolicyKey, PolicyMapRow};
pub use policy_progress::PolicyProgress;
pub use policy_rule::PolicyRule;
pub use pool_choice::PoolChoice;
pub use realized::Realized;
pub use rejected::Rejected;
pub use remote_cluster::{RemoteCluster, RemoteConfig, Synced};
pub use remote_slice::RemoteSlice;
pub use service::ServiceRow;

/// The name under which our own cluster's store announces itself as a source of an imported table. Remote clusters
/// announce themselves as `clustermesh/<cluster>`.
pub const KVSTORE: &str = "kvstore";

/// A cell for a value that may be absent.
fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
