//! How each remote cluster stands.

use std::collections::BTreeSet;
use std::time::Duration;

use api::{ClusterMesh, RemoteCluster, RemoteConfig, RemoteSynced};

use super::Health;

// === impl Health ===

impl Health {
    /// Every configured remote cluster.
    pub(crate) fn mesh(&self) -> ClusterMesh {
        let now = runtime::now();
        let (ages, heartbeats) = (self.store.freshness.ages(now), self.store.freshness.heartbeats(now));
        let tables = &self.tables;
        let (nodes, ips) = (tables.nodes.read.snapshot(), tables.ips.read.snapshot());
        let (identities, services) = (tables.identities.read.snapshot(), tables.global_services.read.snapshot());
        let slices = tables.remote_slices.read.snapshot();
        let (remotes, rejected) = (tables.remote_clusters.read.snapshot(), tables.rejected.read.snapshot());
        let cluster = |row: &tables::RemoteCluster| {
            let name = row.name.as_str();
            let config = row.config.as_ref();
            let stalest = ages.iter().filter(|age| age.cluster == row.name).filter_map(|age| age.age).max();
            let heartbeat = heartbeats.iter().find(|(cluster, _)| *cluster == row.name).map(|(_, age)| *age);
            RemoteCluster {
                name: name.to_owned(),
                ready: row.is_ready(),
                connected: row.connected,
                status: row.status.to_string(),
                config: RemoteConfig {
                    required: true,
                    retrieved: config.is_some(),
                    cluster_id: config.map_or(0, |config| config.id.get()),
                    kvstoremesh: config.is_some_and(|config| config.cached),
                    sync_canaries: config.is_some_and(|config| config.synced_canaries),
                    service_exports_enabled: config.and_then(|config| config.service_exports),
                    endpoint_slices_export_mode: config
                        .map_or_else(String::new, |config| config.endpoint_slices.to_owned()),
                },
                synced: RemoteSynced {
                    nodes: row.synced.nodes,
                    endpoints: row.synced.endpoints,
                    identities: row.synced.identities,
                    services: row.synced.services,
                    endpoint_slices: row.synced.endpoint_slices,
                },
                num_nodes: nodes.count("cluster", name),
                num_endpoints: ips.count("cluster", name),
                num_identities: identities.count("cluster", name),
                num_shared_services: services.count("cluster", name),
                num_endpoint_slices: slices.count("cluster", name),
                num_failures: usize::try_from(row.failures).unwrap_or(usize::MAX),
                last_failure: row.last_failure,
                staleness: stalest.as_ref().map(Duration::as_secs_f64),
                heartbeat_age: heartbeat.as_ref().map(Duration::as_secs_f64),
                num_rejected: rejected.count("cluster", name),
            }
        };
        let names: BTreeSet<_> = services.iter().map(|row| &row.service.name).collect();
        ClusterMesh { clusters: remotes.iter().map(|row| cluster(row)).collect(), num_global_services: names.len() }
    }
}
