//! `/healthz`, `/config` and `/statedb`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Healthz, State as Level, Status};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};

use super::{Failure, Shared};

pub(super) async fn healthz(State(shared): State<Arc<Shared>>) -> Json<Healthz> {
    Json(status_of(&shared))
}

pub(super) async fn config(State(shared): State<Arc<Shared>>) -> Json<api::Config> {
    Json(shared.config.clone())
}

pub(super) async fn tables(State(shared): State<Arc<Shared>>) -> Json<Vec<api::Table>> {
    let table = |info: statedb::TableInfo| api::Table {
        name: info.name.to_owned(),
        rows: info.rows,
        revision: info.revision,
        pending: info.pending,
    };
    Json(shared.database.tables().into_iter().map(table).collect())
}

pub(super) async fn table(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Response, Failure> {
    let absent = || {
        let known: Vec<_> = shared.database.tables().iter().map(|info| info.name).collect();
        Failure::not_found(format!("there is no table {name:?}; there are {}", known.join(", ")))
    };
    if query.get("format").is_some_and(|format| format == "text") {
        return Ok(shared.database.text(&name).ok_or_else(absent)?.into_response());
    }
    Ok(Json(shared.database.json(&name).ok_or_else(absent)?).into_response())
}

/// The whole status, as the tables and the connections tell it now.
fn status_of(shared: &Shared) -> Healthz {
    let kvstore = shared.health.kvstore();
    let alarms: Vec<String> =
        shared.tables.alarms.read.snapshot().iter().map(|alarm| format!("{}: {}", alarm.name, alarm.message)).collect();
    let waiting_for = shared.health.readiness.waiting().iter().map(|what| (*what).to_owned()).collect::<Vec<_>>();
    let cluster_mesh = cluster_mesh(shared);
    let controllers = shared.health.controllers();
    let failing = controllers.iter().filter(|controller| controller.failing > 0).count();
    let not_ready = cluster_mesh.clusters.iter().filter(|cluster| !cluster.ready).count();
    let mut reasons = Vec::new();
    if kvstore.state != Level::Ok {
        reasons.push("kvstore".to_owned());
    }
    if !waiting_for.is_empty() {
        reasons.push(format!("waiting for {}", waiting_for.join(", ")));
    }
    if failing > 0 {
        reasons.push(format!("{failing} controllers failing"));
    }
    if not_ready > 0 {
        reasons.push(format!("{not_ready} remote clusters not ready"));
    }
    if !alarms.is_empty() {
        reasons.push(format!("{} alarms", alarms.len()));
    }
    let cilium = match reasons.is_empty() {
        true => Status { state: Level::Ok, msg: format!("causeway {}", env!("CARGO_PKG_VERSION")) },
        false => Status { state: Level::Warning, msg: reasons.join("; ") },
    };
    let ipam = shared.ipam.lock();
    let pool = |pool: &::ipam::Pool| api::IpamStatus {
        cidr: pool.cidr().to_string(),
        used: pool.owners().len(),
        total: pool.capacity().to_string(),
    };
    Healthz {
        cilium,
        kvstore,
        node: shared.node.clone(),
        ipam: ipam.pools().iter().map(pool).collect(),
        cluster_mesh,
        controllers,
        staleness: shared.health.staleness(),
        identity_range: shared.identity_range.clone(),
        alarms,
        waiting_for,
    }
}

fn cluster_mesh(shared: &Shared) -> api::ClusterMesh {
    let tables = &shared.tables;
    let (nodes, ips) = (tables.nodes.read.snapshot(), tables.ips.read.snapshot());
    let (identities, services) = (tables.identities.read.snapshot(), tables.global_services.read.snapshot());
    let remotes = tables.remote_clusters.read.snapshot();
    let cluster = |row: &tables::RemoteCluster| {
        let name = row.name.as_str();
        let config = row.config.as_ref();
        api::RemoteCluster {
            name: name.to_owned(),
            ready: row.is_ready(),
            connected: row.connected,
            status: row.status.to_string(),
            config: api::RemoteConfig {
                required: true,
                retrieved: config.is_some(),
                cluster_id: config.map_or(0, |config| config.id.get()),
                kvstoremesh: config.is_some_and(|config| config.cached),
                sync_canaries: config.is_some_and(|config| config.synced_canaries),
                service_exports_enabled: config.and_then(|config| config.service_exports),
            },
            synced: api::RemoteSynced {
                nodes: row.synced.nodes,
                endpoints: row.synced.endpoints,
                identities: row.synced.identities,
                services: row.synced.services,
            },
            num_nodes: nodes.by("cluster", name).count(),
            num_endpoints: ips.by("cluster", name).count(),
            num_identities: identities.by("cluster", name).count(),
            num_shared_services: services.by("cluster", name).count(),
            num_failures: usize::try_from(row.failures).unwrap_or(usize::MAX),
            last_failure: row.last_failure,
        }
    };
    let names: std::collections::BTreeSet<_> = services.iter().map(|row| &row.service.name).collect();
    api::ClusterMesh { clusters: remotes.iter().map(|row| cluster(row)).collect(), num_global_services: names.len() }
}
