//! The process: tables, tasks, and who may write.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ipam::ClusterPool;
use kvstore::{Backend, LOCK_LEASE_TTL, Leases, Locks};
use model::{ClusterId, ClusterIdLayout, ClusterName, Source, check_cluster};
use prometheus::{IntGauge, Registry};
use reflector::{Exporter, Freshness, Import, Metrics};
use runtime::{Readiness, Tasks};
use statedb::reconciler::{Handle, Options};
use statedb::{Database, Row, Writer};
use tables::{Alarm, BackendSet, Export, Identity, IpClaim, IpPool, NodeRow, Rejected, ServiceRow};
use tokio::sync::watch;
use wire::cluster_config::ClusterConfig;

use crate::leader::Election;
use crate::{Args, Pace, cluster_config, collector, heartbeat, node_gc, ranges, services, sweeper};

/// How long tasks may take to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What an operator needs to know of its cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name.
    pub cluster: ClusterName,
    /// Its number; with 0 there is no mesh, and nothing is told to other clusters.
    pub id: ClusterId,
    /// How many clusters its mesh can have.
    pub layout: ClusterIdLayout,
    /// How long leased keys outlive their writer.
    pub lease_ttl: Duration,
    /// How identities that nobody uses are collected.
    pub identity_gc: Pace,
    /// How often nodes that no lease ends are looked for; 0: never.
    pub nodes_gc_interval: Duration,
    /// What nodes are given ranges of pod addresses of; none: they have their own.
    pub pools: Vec<ClusterPool>,
    /// Nodes are given ranges of CiliumPodIPPool objects too.
    pub multi_pool: bool,
    /// Kubernetes objects.
    pub manifests: Option<PathBuf>,
    /// Tells candidates apart in the log.
    pub identity: String,
}

/// Runs the process until a signal arrives or a task dies.
///
/// # Errors
///
/// When an option cannot be used, or an address is taken.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let layout = args.max_connected_clusters;
    if args.cluster_id != ClusterId::NONE {
        layout.check(args.cluster_id).context("--cluster-id")?;
    }
    check_cluster(&args.cluster_name, args.cluster_id)?;
    let options = kvstore::Options::parse(&args.kvstore_opt)?;
    let store = options.connect().await.context("connect to the store")?;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (identity_gc, pools) = (args.identity_gc(), args.pools()?);
    let config = Config {
        cluster: args.cluster_name,
        id: args.cluster_id,
        layout,
        lease_ttl: args.kvstore_lease_ttl,
        identity_gc,
        nodes_gc_interval: args.nodes_gc_interval,
        pools,
        multi_pool: args.ipam == "multi-pool",
        manifests: args.k8s_manifests,
        identity: format!("{}-{}", host.trim(), std::process::id()),
    };
    let (tasks, readiness, registry) = (Tasks::default(), Readiness::default(), Registry::new());
    reflector::observe_store(&store, "cilium_operator", &registry);
    let version = prometheus::Opts::new("cilium_operator_version", "Version of the operator");
    let version = runtime::metrics::register(&registry, prometheus::IntGaugeVec::new(version, &["version", "arch"])?);
    version.with_label_values(&[env!("CARGO_PKG_VERSION"), std::env::consts::ARCH]).set(1);
    let bootstrap = (Arc::clone(&store), readiness.clone());
    start(&tasks, store, config, &readiness, &registry);
    tasks.spawn_finite("bootstrap", async move {
        while !bootstrap.1.waiting().is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bootstrap.0.end_bootstrap();
    });
    runtime::serve_admin(&tasks, args.operator_api_serve_addr, readiness.clone(), registry.clone()).await?;
    if let Some(address) = args.operator_prometheus_serve_addr {
        runtime::serve_admin(&tasks, address, readiness, registry).await?;
    }
    let code = tokio::select! {
        signal = runtime::terminated() => {
            tracing::info!(signal = signal?, "stopping");
            ExitCode::SUCCESS
        }
        task = tasks.died() => {
            tracing::error!(task, "a task has died: stopping");
            ExitCode::FAILURE
        }
    };
    if let runtime::Stopped::Aborted(tasks) = tasks.stop(GRACE).await {
        tracing::warn!(?tasks, "tasks did not stop in time");
    }
    Ok(code)
}

/// Starts the operator's tasks over a store; the tables by name.
pub fn start(
    tasks: &Tasks,
    store: Arc<dyn Backend>,
    config: Config,
    readiness: &Readiness,
    registry: &Registry,
) -> Database {
    let database = Database::default();
    let (cluster, id) = (config.cluster.clone(), config.id);
    let (nodes, node_reader) = database.table::<NodeRow>();
    let (ips, ip_reader) = database.table::<IpClaim>();
    let (identities, identity_reader) = database.table::<Identity>();
    let (services, service_reader) = database.table::<ServiceRow>();
    let (backends, backend_reader) = database.table::<BackendSet>();
    let (exports, export_reader) = database.table::<Export>();
    let (ip_pools, _) = database.table::<IpPool>();
    let (alarms, _) = database.table::<Alarm>();
    let (rejected, _) = database.table::<Rejected>();
    fn hidden<R: Row>(database: &Database) -> Writer<R> {
        database.table::<R>().0
    }

    let leases = Leases::new(Arc::clone(&store), config.lease_ttl);
    let lock_leases = Leases::new(Arc::clone(&store), LOCK_LEASE_TTL);
    let locks = Locks::new(Arc::clone(&store), Arc::clone(&lock_leases));
    tasks.spawn("leases", Arc::clone(&leases).keep_alive());
    tasks.spawn("lock-leases", Arc::clone(&lock_leases).keep_alive());
    tasks.spawn("locks", Arc::clone(&locks).release_abandoned());

    let owned = wire::service::prefix(wire::Source::State, &cluster);
    let exporter = Exporter::new(Arc::clone(&store), Arc::clone(&leases), export_reader, vec![owned.clone()]);
    let health = Freshness::default().store(&cluster, config.lease_ttl);
    let import = Import {
        store: Arc::clone(&store),
        cluster: cluster.clone(),
        source: Source::Kvstore,
        cached: false,
        rejected,
        alarms: alarms.clone(),
        metrics: Metrics::new(registry),
        health: Arc::clone(&health),
        border: None,
        exporter: None,
        quota: usize::MAX,
    };
    tasks.spawn("heartbeat-watch", import.clone().heartbeat());
    tasks.spawn("import-nodes", import.clone().nodes(id, None, nodes));
    tasks.spawn("import-ips", import.clone().ips(id, config.layout, ips));
    tasks.spawn("import-identities", import.identities(id, config.layout, identities));

    let (all_ips, own_alarms) = (ip_reader.clone(), alarms.clone());
    let objects = k8s::Tables {
        nodes: hidden(&database),
        ip_pools: ip_pools.clone(),
        pods: hidden(&database),
        namespaces: hidden(&database),
        services,
        backends: backends.clone(),
        rules: hidden(&database),
        alarms,
    };
    let parse = k8s::ParseOptions {
        cluster: cluster.as_str().into(),
        default_local_cluster: true,
        families: model::Families { ipv4: true, ipv6: true },
    };
    let objects = k8s::run(objects, config.manifests, parse);
    let selected = loadbalancer::run_selector_backends(loadbalancer::BackendInputs {
        services: service_reader.clone(),
        ips: ip_reader,
        identities: identity_reader,
        backends,
        cluster: cluster.clone(),
        patience: None,
    });
    let exported = services::run(services::Inputs {
        services: service_reader,
        backends: backend_reader,
        initializer: exports.announce("services"),
        exports,
        cluster: cluster.clone(),
        cluster_id: id,
        ready: readiness.condition("services and their backends"),
    });
    tasks.spawn("services", async move {
        // In this order at first: both announce themselves as sources before the third asks whether all have spoken.
        tokio::select! {
            biased;
            () = objects => {}
            () = selected => {}
            () = exported => {}
        }
    });

    let gauge = IntGauge::new("cilium_operator_leader", "Whether this operator leads")
        .expect("the name and the help are constants that parse");
    let collected = collector::Inputs {
        store: Arc::clone(&store),
        locks: Arc::clone(&locks),
        cluster: cluster.clone(),
        range: config.layout.allocation_range(id),
        pace: config.identity_gc,
        lease_ttl: config.lease_ttl,
        metrics: collector::Metrics::new(registry),
    };
    let swept = Arc::clone(&store);
    let handed_out = ranges::Inputs {
        store: Arc::clone(&store),
        cluster: cluster.clone(),
        pools: config.pools,
        ip_pools: config.multi_pool.then(|| ip_pools.reader()),
        lease_ttl: config.lease_ttl,
        nodes: node_reader,
        ips: all_ips,
        alarms: own_alarms,
    };
    let election = Election {
        locks,
        leases: lock_leases,
        path: wire::own::leader_path(&cluster),
        identity: config.identity,
        leading: watch::Sender::new(false),
        gauge: runtime::metrics::register(registry, gauge),
    };
    let wanted = ClusterConfig {
        id,
        max_connected_clusters: config.layout.max_clusters(),
        service_exports_enabled: Some(false),
        ..ClusterConfig::default()
    };
    if id != ClusterId::NONE {
        let leading = election.leading.subscribe();
        // Without a mesh nobody shall read us.
        tasks.spawn("cluster-config", cluster_config::run(store, cluster, wanted, health, leading));
    }
    let stop = tasks.stopping().cancelled_owned();
    tasks.spawn_draining(
        "leader",
        election.run(stop, move || {
            let keys = exporter.clone().run(Handle::new(Options::default()));
            let watch = exporter.clone().follow_own(owned.clone());
            let beat = heartbeat::run(Arc::clone(&swept), Arc::clone(&leases));
            let collect = collector::run(collected.clone());
            let sweep = sweeper::run(Arc::clone(&swept));
            let nodes = node_gc::run(Arc::clone(&swept), collected.cluster.clone(), config.nodes_gc_interval);
            let hand_out = ranges::run(handed_out.clone());
            async move {
                tokio::select! {
                    () = keys => {}
                    () = watch => {}
                    () = beat => {}
                    () = collect => {}
                    () = sweep => {}
                    () = nodes => {}
                    () = hand_out => {}
                }
            }
        }),
    );
    database
}
