//! Table `remote-clusters`: how the connection to each remote cluster stands.
//!
//! Written by `clustermesh`; read by the API. Counts of rows are not here: they are counts of the other tables.

use std::sync::Arc;

use model::{ClusterId, ClusterName};
use statedb::Row;

/// A configured remote cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteCluster {
    /// Its name: the name of its file.
    pub name: ClusterName,
    /// Whether there is a working connection to its store.
    pub connected: bool,
    /// One line for people: the connection's state, or why it is not ready.
    pub status: Arc<str>,
    /// Its configuration, once it was read.
    pub config: Option<RemoteConfig>,
    /// Which resources are in sync.
    pub synced: Synced,
    /// Failed or lost connections since the start.
    pub failures: u64,
    /// When the last one was, seconds since 1970.
    pub last_failure: Option<u64>,
}

/// What a remote cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteConfig {
    /// Its number.
    pub id: ClusterId,
    /// Whether its data lies in a mirror.
    pub cached: bool,
    /// Whether it announces finished prefixes.
    pub synced_canaries: bool,
    /// Whether it exports services of the MCS API; unknown for old writers.
    pub service_exports: Option<bool>,
    /// In which form it exports backends, in Cilium's words; empty: as services.
    pub endpoint_slices: &'static str,
}

/// Which resources of a remote cluster were listed completely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Synced {
    /// Its nodes.
    pub nodes: bool,
    /// Its addresses.
    pub endpoints: bool,
    /// Its identities.
    pub identities: bool,
    /// Its services.
    pub services: bool,
    /// Its endpoint slices; `None` while they are not read.
    pub endpoint_slices: Option<bool>,
}

// === impl RemoteCluster ===

impl RemoteCluster {
    /// Connected, configured and in sync.
    pub fn is_ready(&self) -> bool {
        let Synced { nodes, endpoints, identities, services, endpoint_slices } = self.synced;
        let backends = services && endpoint_slices.unwrap_or(true);
        self.connected && self.config.is_some() && nodes && endpoints && identities && backends
    }
}

impl Row for RemoteCluster {
    type Key = ClusterName;
    const TABLE: &'static str = "remote-clusters";
    const COLUMNS: &'static [&'static str] = &["NAME", "ID", "READY", "FAILURES", "STATUS"];

    fn key(&self) -> ClusterName {
        self.name.clone()
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.to_string(),
            crate::cell(self.config.as_ref().map(|config| config.id)),
            self.is_ready().to_string(),
            self.failures.to_string(),
            self.status.to_string(),
        ]
    }
}
