//! When the agent is ready: its store was listed, its objects were read, and the kernel reflects both.

use std::sync::Arc;

use datapath::Status;
use kvstore::Client;
use runtime::{Readiness, Tasks};
use statedb::{Reader, Row, Snapshot};
use tokio::sync::watch;

use crate::database::Tables;

/// Adds the conditions, and the tasks that fulfil them.
pub(crate) fn start(
    tasks: &Tasks,
    readiness: &Readiness,
    tables: &Tables,
    store: Arc<Client>,
    datapath: watch::Receiver<Status>,
) {
    let ready = readiness.condition("kvstore");
    let (nodes, ips, identities) = (tables.nodes.read.clone(), tables.ips.read.clone(), tables.identities.read.clone());
    tasks.spawn_finite("ready-kvstore", async move {
        own_store_listed(&nodes).await;
        own_store_listed(&ips).await;
        own_store_listed(&identities).await;
        store.end_bootstrap();
        ready.ready();
    });
    let ready = readiness.condition("kubernetes objects");
    let services = tables.services.read.clone();
    tasks.spawn_finite("ready-k8s", async move {
        services.wait_for(Snapshot::is_initialised).await;
        ready.ready();
    });
    let ready = readiness.condition("datapath");
    let mut datapath = datapath;
    tasks.spawn_finite("ready-datapath", async move {
        // The kernel reflects a policy: from then on endpoints can be realised.
        let reflects = |status: &Status| status.pruned || status.error.is_none() && status.policy_revision > 0;
        if datapath.wait_for(reflects).await.is_ok() {
            ready.ready();
        }
    });
}

/// A remote cluster that is down keeps nobody from being ready.
async fn own_store_listed<R: Row>(table: &Reader<R>) {
    table.wait_for(|rows| !rows.pending().any(|source| source == tables::KVSTORE)).await;
}
