//! How the agent stands: what its tables, its connections and the kernel say now, as the API and the metrics show it.
//!
//! It decides nothing and repairs nothing.

mod controllers;
mod kvstore;
mod maps;
mod mesh;

use std::sync::Arc;

use api::{Healthz, IpamStatus, RejectedCount, SourceStaleness, State, Status, Versions};
use parking_lot::Mutex;
use runtime::{Readiness, Tasks};
use tokio::sync::watch;

use crate::database::Tables;
use crate::store::Store;

pub(crate) use kvstore::{Probed, probe};
pub(crate) use maps::MapUses;

/// A map this full is worth a look.
const FULL: f64 = 0.9;

/// Where status is read from.
pub(crate) struct Health {
    pub(crate) node: String,
    pub(crate) cluster: model::ClusterName,
    pub(crate) identity_range: String,
    pub(crate) readiness: Readiness,
    pub(crate) datapath: watch::Receiver<datapath::Status>,
    pub(crate) store: Store,
    pub(crate) tables: Tables,
    pub(crate) tasks: Tasks,
    pub(crate) ipam: Arc<Mutex<ipam::Ipam>>,
    pub(crate) maps: MapUses,
}

// === impl Health ===

impl Health {
    /// The whole status.
    pub(crate) async fn healthz(&self) -> Healthz {
        let (kvstore, kvstore_detail) = self.kvstore().await;
        let snapshot = self.tables.alarms.read.snapshot();
        let alarms: Vec<String> = snapshot.iter().map(|alarm| format!("{}: {}", alarm.name, alarm.message)).collect();
        let mut health = Healthz {
            cilium: Status { state: State::Ok, msg: format!("causeway {}", env!("CARGO_PKG_VERSION")) },
            node: self.node.clone(),
            ipam: self.pools(),
            cluster_mesh: self.mesh(),
            controllers: self.controllers(),
            staleness: self.staleness(),
            identity_range: self.identity_range.clone(),
            alarms,
            waiting_for: self.readiness.waiting().iter().map(|what| (*what).to_owned()).collect(),
            maps: self.maps.get(),
            rejected: self.rejected(),
            tasks: self.tasks.names().len(),
            versions: Versions {
                causeway: env!("CARGO_PKG_VERSION").to_owned(),
                kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
                store: kvstore_detail.version.as_ref().map(|version| format!("etcd {version}")),
            },
            kvstore,
            kvstore_detail,
        };
        let reasons = reasons(&health);
        if !reasons.is_empty() {
            health.cilium = Status { state: State::Warning, msg: reasons.join("; ") };
        }
        health
    }

    pub(crate) fn pools(&self) -> Vec<IpamStatus> {
        let ipam = self.ipam.lock();
        let pool = |(_, pool): (&str, &ipam::Pool)| IpamStatus {
            cidr: pool.cidr().to_string(),
            used: pool.owners().len(),
            total: pool.capacity().to_string(),
        };
        ipam.ranges().map(pool).collect()
    }

    /// How old what each source last said is.
    fn staleness(&self) -> Vec<SourceStaleness> {
        let row = |age: &reflector::SourceAge| {
            let source = format!("{}/{}", age.cluster, age.resource);
            Some(SourceStaleness { source, seconds: age.age?.as_secs_f64() })
        };
        self.store.freshness.ages(runtime::now()).iter().filter_map(row).collect()
    }

    fn rejected(&self) -> Vec<RejectedCount> {
        let rows = self.tables.rejected.read.snapshot();
        let clusters: std::collections::BTreeSet<_> = rows.iter().map(|row| row.cluster.clone()).collect();
        let count = |cluster: &model::ClusterName| rows.count("cluster", cluster.as_str());
        clusters.iter().map(|cluster| RejectedCount { cluster: cluster.to_string(), keys: count(cluster) }).collect()
    }
}

/// Why the agent is degraded; empty when it is not.
fn reasons(health: &Healthz) -> Vec<String> {
    let mut reasons = Vec::new();
    if health.kvstore.state != State::Ok {
        reasons.push("kvstore".to_owned());
    }
    if !health.waiting_for.is_empty() {
        reasons.push(format!("waiting for {}", health.waiting_for.join(", ")));
    }
    let failing = health.controllers.iter().filter(|controller| controller.failing > 0).count();
    if failing > 0 {
        reasons.push(format!("{failing} controllers failing"));
    }
    let not_ready = health.cluster_mesh.clusters.iter().filter(|cluster| !cluster.ready).count();
    if not_ready > 0 {
        reasons.push(format!("{not_ready} remote clusters not ready"));
    }
    if !health.alarms.is_empty() {
        reasons.push(format!("{} alarms ({})", health.alarms.len(), health.alarms.join("; ")));
    }
    let full: Vec<&str> =
        health.maps.iter().filter(|map| map.pressure() >= FULL).map(|map| map.name.as_str()).collect();
    if !full.is_empty() {
        reasons.push(format!("nearly full maps: {}", full.join(", ")));
    }
    reasons
}
