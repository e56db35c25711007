//! `/healthz`: how the agent stands.

use serde::{Deserialize, Serialize};

use crate::ClusterMesh;

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
    /// The store in numbers.
    #[serde(default)]
    pub kvstore_detail: KvstoreDetail,
    /// How full the kernel's maps are.
    #[serde(default)]
    pub maps: Vec<MapUse>,
    /// Keys in quarantine by the cluster whose store holds them.
    #[serde(default)]
    pub rejected: Vec<RejectedCount>,
    /// Tasks that run; one that dies ends the agent.
    #[serde(default)]
    pub tasks: usize,
    /// What runs here.
    #[serde(default)]
    pub versions: Versions,
}

/// The store in numbers; what is not known is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct KvstoreDetail {
    /// Its configured endpoints.
    pub endpoints: Vec<String>,
    /// How many of them can be reached.
    pub connected: usize,
    /// Whether it has a leader, and so a quorum.
    pub quorum: bool,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its cluster id, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Leases that keep our keys.
    pub leases: usize,
    /// Leases that keep our locks.
    pub lock_leases: usize,
    /// Seconds since the operator's last heartbeat was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_age: Option<f64>,
    /// Seconds since its last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_answer_age: Option<f64>,
    /// Requests that failed since the start.
    pub failures: u64,
}

/// How full a map of the kernel is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapUse {
    /// Its name.
    pub name: String,
    /// Rows in it.
    pub entries: usize,
    /// Rows that it holds at most.
    pub capacity: usize,
}

/// Keys of a store that are not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedCount {
    /// The cluster.
    pub cluster: String,
    /// How many.
    pub keys: usize,
}

/// What runs here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    /// Causeway.
    pub causeway: String,
    /// The kernel.
    pub kernel: String,
    /// The store, once it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
}

impl MapUse {
    /// The share that is used, 0 to 1.
    pub fn pressure(&self) -> f64 {
        if self.capacity == 0 { 0.0 } else { self.entries as f64 / self.capacity as f64 }
    }
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
