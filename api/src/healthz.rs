//! `/healthz`: how the agent stands.

use serde::{Deserialize, Serialize};

/// The whole status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Healthz {
    /// The agent itself: the worst of what follows.
    pub cilium: Status,
    /// The store.
    pub kvstore: Status,
    /// Node name and cluster.
    pub node: String,
    /// Addresses of pods.
    pub ipam: Vec<IpamStatus>,
    /// Remote clusters.
    pub cluster_mesh: ClusterMesh,
    /// Reconcilers and other loops.
    pub controllers: Vec<Controller>,
    /// How stale each source is.
    pub staleness: Vec<SourceStaleness>,
    /// The range that identities of this cluster are taken from.
    pub identity_range: String,
    /// What an operator should look at.
    pub alarms: Vec<String>,
    /// What the agent still waits for; empty when ready.
    pub waiting_for: Vec<String>,
}

/// A state with a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The state.
    pub state: State,
    /// The sentence.
    pub msg: String,
}

/// Cilium's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// All is well.
    Ok,
    /// Works, but look.
    Warning,
    /// Does not work.
    Failure,
    /// Not configured.
    Disabled,
}

/// One family's pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamStatus {
    /// The range.
    pub cidr: String,
    /// Addresses in use.
    pub used: usize,
    /// Addresses in all, as text: an IPv6 range has more than JSON numbers hold.
    pub total: String,
}

/// Remote clusters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Failures of the connection.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_failures: usize,
    /// Seconds since 1970 of the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<u64>,
}

/// What a remote cluster says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// A loop of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Controller {
    /// Its name.
    pub name: String,
    /// Items that wait.
    pub backlog: usize,
    /// Items whose last try failed.
    pub failing: usize,
    /// The last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// How old what a source last said is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceStaleness {
    /// The source.
    pub source: String,
    /// Seconds since it was last known to be current.
    pub seconds: f64,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}
