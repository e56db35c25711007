//! Nodes without a kernel, for tests with more of them than a machine can carry: endpoints from CNI's request on,
//! identities and exports are the agent's own, so a store cannot tell.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use endpoint::CreateRequest;
use prometheus::Registry;
use runtime::Tasks;
use statedb::{Change, Database, Reader, Writer};
use tables::{Endpoint, Namespace, NodeRow, Pod, Realized};

use crate::database::Tables;
use crate::{Args, exports, logic, node, preflight, store};

/// Between two attempts to create a pod.
const RETRY: Duration = Duration::from_secs(1);

/// Publishes a node and these pods; they are kept until `tasks` stops.
///
/// # Errors
///
/// When the options are none of a node.
pub async fn join(tasks: &Tasks, args: &Args, pods: Vec<(Pod, CreateRequest)>) -> Result<()> {
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
    for (pod, request) in pods {
        let name = format!("{}/{}", pod.namespace, pod.name);
        tables.namespaces.write.upsert(Namespace { name: Arc::clone(&pod.namespace), labels: Default::default() });
        tables.pods.write.upsert(pod);
        // As a container runtime does.
        while let Err(error) = endpoints.create(request.clone()).await {
            tracing::warn!(pod = name, %error, "is not created; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
    Ok(())
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
