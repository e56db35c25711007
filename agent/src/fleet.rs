//! Nodes without a kernel, for tests with more of them than a machine can carry: endpoints from CNI's request on,
//! identities and exports are the agent's own, so a store cannot tell.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use endpoint::{CreateError, CreateRequest};
use model::EndpointId;
use prometheus::Registry;
use runtime::Tasks;
use statedb::{Change, Database, Reader, Row, Writer};
use tables::{Endpoint, Namespace, NodeRow, Pod, Realized};

use crate::database::Tables;
use crate::{Args, exports, logic, node, preflight, store};

/// Between two attempts to create a pod.
const RETRY: Duration = Duration::from_secs(1);

/// A published node.
pub struct Member {
    tables: Tables,
    endpoints: endpoint::Manager,
}

/// Publishes a node; it is kept until `tasks` stops.
///
/// # Errors
///
/// When the options are none of a node.
pub async fn join(tasks: &Tasks, args: &Args) -> Result<Member> {
    let layout = preflight::layout(args)?;
    let own = node::own(args)?;
    let tables = Tables::new(&Database::default());
    tables.nodes.write.upsert(NodeRow { node: Arc::new(own.clone()) });
    for identity in exports::reserved_identities(&args.cluster_name, &args.fixed_identity_mapping) {
        tables.identities.write.upsert(identity);
    }
    let folder = args.state_dir.join("endpoints");
    let endpoints = logic::endpoints(tasks, args, &tables, folder, Vec::new());
    store::start(tasks, args, layout, &own, &tables, &Registry::new()).await?;
    tasks.spawn("kernel", realize(tables.endpoints.read.clone(), tables.realized.write.clone()));
    Ok(Member { tables, endpoints })
}

impl Member {
    /// Adds a pod, once.
    ///
    /// # Errors
    ///
    /// As the agent answers to CNI.
    pub async fn add(&self, pod: Pod, request: CreateRequest) -> Result<EndpointId, CreateError> {
        self.tables.namespaces.write.upsert(Namespace {
            name: Arc::clone(&pod.namespace),
            labels: Default::default(),
            pools: Default::default(),
        });
        self.tables.pods.write.upsert(pod);
        self.endpoints.create(request).await
    }

    /// Adds a pod, however often that takes: as a container runtime does.
    pub async fn add_surely(&self, pod: Pod, request: CreateRequest) {
        while let Err(error) = self.add(pod.clone(), request.clone()).await {
            tracing::warn!(pod = %pod.name, %error, "is not created; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Removes a pod.
    pub async fn remove(&self, pod: &Pod, id: EndpointId) {
        self.endpoints.delete(id).await;
        self.tables.pods.write.delete(&pod.key());
    }
}

/// Says of every endpoint that the kernel enforces its identity.
async fn realize(endpoints: Reader<Endpoint>, realized: Writer<Realized>) {
    let mut changes = endpoints.changes();
    loop {
        for change in changes.drain() {
            let row = change.row();
            match (&change, row.identity) {
                (Change::Upsert(_), Some(identity)) => drop(realized.upsert(Realized { id: row.id, identity })),
                _ => drop(realized.delete(&row.id)),
            }
        }
        changes.wait().await;
    }
}
