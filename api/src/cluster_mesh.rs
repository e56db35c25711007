//! The remote clusters of `/healthz`; zero values are left out, as Cilium does.

use serde::{Deserialize, Serialize};

/// Remote clusters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterMesh {
    /// Each configured one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<RemoteCluster>,
    /// Services that some remote cluster shares.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_global_services: usize,
}

/// One remote cluster; zero values are left out, as Cilium does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RemoteCluster {
    /// Its name.
    pub name: String,
    /// Whether it can be used.
    #[serde(skip_serializing_if = "is_false")]
    pub ready: bool,
    /// Whether there is a working connection.
    #[serde(skip_serializing_if = "is_false")]
    pub connected: bool,
    /// The connection's state, or why it is not ready.
    pub status: String,
    /// What it says of itself.
    pub config: RemoteConfig,
    /// What was listed completely.
    pub synced: RemoteSynced,
    /// Nodes.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_nodes: usize,
    /// Addresses.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_endpoints: usize,
    /// Identities.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_identities: usize,
    /// Shared services.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_shared_services: usize,
    /// Endpoint slices.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_endpoint_slices: usize,
    /// Failures of the connection.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_failures: usize,
    /// Seconds since 1970 of the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<u64>,
    /// Seconds for which the stalest of its resources may be out of date; absent before the first list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness: Option<f64>,
    /// Seconds since its operator's last heartbeat was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_age: Option<f64>,
    /// Its keys that broke a rule and are not used.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_rejected: usize,
}

/// What a remote cluster says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RemoteConfig {
    /// Always: a cluster without configuration is not used.
    pub required: bool,
    /// Whether it was read.
    pub retrieved: bool,
    /// Its number.
    pub cluster_id: u32,
    /// Whether its data is a mirror's.
    pub kvstoremesh: bool,
    /// Whether it announces finished prefixes.
    pub sync_canaries: bool,
    /// Whether it exports services of the MCS API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_exports_enabled: Option<bool>,
    /// In which form it exports backends; absent: as services alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub endpoint_slices_export_mode: String,
}

/// What was listed completely.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoteSynced {
    /// Nodes.
    pub nodes: bool,
    /// Addresses.
    pub endpoints: bool,
    /// Identities.
    pub identities: bool,
    /// Services.
    pub services: bool,
    /// Endpoint slices; absent while they are not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_slices: Option<bool>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}
