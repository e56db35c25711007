//! The store's side: our own cluster's etcd, and those of remote clusters.

use std::sync::Arc;

use anyhow::Result;
use kvstore::{Backend, Client, LOCK_LEASE_TTL, Leases, Locks, Quorum};
use model::{ClusterIdLayout, Node};
use prometheus::Registry;
use runtime::Tasks;
use statedb::reconciler;
use tables::Export;
use tokio::sync::oneshot;

use crate::database::Tables;
use crate::{Args, exports, own_node, ranges, registration, status};

/// What status shows of the store.
pub(crate) struct Store {
    pub(crate) client: Arc<Client>,
    pub(crate) endpoints: Vec<String>,
    pub(crate) probed: status::Probed,
    pub(crate) leases: Arc<Leases>,
    pub(crate) lock_leases: Arc<Leases>,
    pub(crate) quorum: Arc<Quorum>,
    /// So many checks of the quorum may fail in a row.
    pub(crate) max_quorum_errors: u32,
    pub(crate) propagation: reflector::Propagation,
    pub(crate) freshness: reflector::Freshness,
    pub(crate) exports: reconciler::Handle<Export>,
}

/// Starts everything that talks to a store. None of it waits for one to answer.
pub(crate) async fn start(
    tasks: &Tasks,
    args: &Args,
    layout: ClusterIdLayout,
    own: &Node,
    tables: &Tables,
    registry: &Registry,
) -> Result<Store> {
    let options = kvstore::Options::parse(&args.kvstore_opt)?;
    let addresses = options.etcd_config()?.endpoints;
    let client = options.connect().await?;
    reflector::observe_store(&client, "cilium", registry);
    let probed = status::Probed::default();
    let store: Arc<dyn Backend> = client.clone();
    let leases = Leases::new(Arc::clone(&store), args.kvstore_lease_ttl);
    tasks.spawn("kvstore-leases", Arc::clone(&leases).keep_alive());
    tasks.spawn("kvstore-probe", status::probe(Arc::clone(&client), Arc::clone(&probed)));
    let (lock_leases, quorum) = check_quorum(tasks, args, &store, tables);
    let freshness = reflector::Freshness::default();
    let health = freshness.store(&args.cluster_name, args.kvstore_lease_ttl);

    let exported = tables.exports.read.clone();
    // An agent owns no prefix: its keys die with their lease.
    let exporter = reflector::Exporter::new(Arc::clone(&store), Arc::clone(&leases), exported, Vec::new());
    let exports = reconciler::Handle::new(reconciler::Options::default());
    tasks.spawn("export", exporter.clone().run(exports.clone()));
    let (sender, registered) = oneshot::channel();
    let registration = registration::Inputs {
        store: Arc::clone(&store),
        leases: Arc::clone(&leases),
        nodes: tables.nodes.read.clone(),
        exports: tables.exports.write.clone(),
        alarms: tables.alarms.write.clone(),
        own: own.clone(),
        id: registration::id(&args.lib_dir)?,
        take_over: args.take_over,
    };
    if ranges::are_handed_out(args) && !ranges::of_pools(args) {
        let key = wire::own::ipam_request_key(&args.cluster_name, &own.name);
        let value = Arc::from(args.ipam.as_bytes());
        tables.exports.write.upsert(Export { key: key.into(), value, leased: true });
    }
    tasks.spawn("registration", registration::run(registration, sender));
    let endpoints = tables.endpoints.read.clone();
    let writer = tables.exports.write.clone();
    let export_endpoints = exports::run(endpoints, writer.clone(), own.name.clone(), args.node_ip()?);
    let publish = own_node::publish(own.clone(), tables.node_objects.read.clone(), tables.nodes.read.clone(), writer);
    tasks.spawn("export-own", async move {
        // Nothing of a node is published before it is ours to be that node.
        if registered.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::join!(publish, export_endpoints);
    });

    let metrics = reflector::Metrics::new(registry);
    let propagation = metrics.propagation.clone();
    let import = reflector::Import {
        store: Arc::clone(&store),
        cluster: args.cluster_name.clone(),
        source: model::Source::Kvstore,
        cached: false,
        rejected: tables.rejected.write.clone(),
        alarms: tables.alarms.write.clone(),
        metrics: metrics.clone(),
        health,
        border: None,
        exporter: Some(exporter),
        quota: usize::MAX,
    };
    tasks.spawn("kvstore-heartbeat", import.clone().heartbeat());
    let (id, own_name) = (args.cluster_id, Some(own.name.clone()));
    tasks.spawn("import-nodes", import.clone().nodes(id, own_name, tables.nodes.write.clone()));
    tasks.spawn("import-identities", import.clone().identities(id, layout, tables.identities.write.clone()));
    tasks.spawn("import-ips", import.ips(id, layout, tables.ips.write.clone()));

    let allocator = identity_allocator::Inputs {
        requests: tables.requests.read.clone(),
        identities: tables.identities.read.clone(),
        grants: tables.grants.write.clone(),
        store,
        leases: Arc::clone(&leases),
        cluster: args.cluster_name.clone(),
        range: layout.allocation_range(id),
        node_ip: args.node_ip()?,
        file: args.lib_dir.join("identities-held.snap"),
    };
    tasks.spawn("identity-allocator", identity_allocator::run(allocator));

    let mesh = clustermesh::run(
        tasks.clone(),
        args.clustermesh_config.clone(),
        clustermesh::Options {
            own: clustermesh::Own { name: args.cluster_name.clone(), id, layout },
            connect: clustermesh::etcd_connector(options),
            lease_ttl: args.kvstore_lease_ttl,
            freshness: freshness.clone(),
            metrics,
            service_mode: args.clustermesh_service_v2,
        },
        clustermesh::Tables {
            nodes: tables.nodes.write.clone(),
            ips: tables.ips.write.clone(),
            identities: tables.identities.write.clone(),
            global_services: tables.global_services.write.clone(),
            remote_slices: tables.remote_slices.write.clone(),
            frontends: Some(tables.frontends.read.clone()),
            remote_clusters: tables.remote_clusters.write.clone(),
            rejected: tables.rejected.write.clone(),
            alarms: tables.alarms.write.clone(),
        },
    );
    tasks.spawn("clustermesh", mesh);
    Ok(Store {
        client,
        endpoints: addresses,
        probed,
        leases,
        lock_leases,
        quorum,
        max_quorum_errors: args.kvstore_max_consecutive_quorum_errors,
        propagation,
        freshness,
        exports,
    })
}

/// Starts the checks whether our store can still write.
fn check_quorum(tasks: &Tasks, args: &Args, store: &Arc<dyn Backend>, tables: &Tables) -> (Arc<Leases>, Arc<Quorum>) {
    let leases = Leases::new(Arc::clone(store), LOCK_LEASE_TTL);
    let locks = Locks::new(Arc::clone(store), Arc::clone(&leases));
    tasks.spawn("kvstore-lock-leases", Arc::clone(&leases).keep_alive());
    tasks.spawn("kvstore-locks", Arc::clone(&locks).release_abandoned());
    let quorum = Arc::new(Quorum::default());
    let (nodes, cluster) = (tables.nodes.read.clone(), args.cluster_name.clone());
    let count = move || nodes.snapshot().count("cluster", cluster.as_str());
    let path = || wire::lock::quorum_check_path(rand::random());
    tasks.spawn("kvstore-quorum", Arc::clone(&quorum).run(locks, path, count));
    (leases, quorum)
}
