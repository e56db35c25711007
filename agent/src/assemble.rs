//! Every part, put together.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datapath::events::{EventReader, Events, MonitorLevel};
use kvstore::{Backend, Leases};
use model::{ClusterId, ClusterIdLayout, NumericIdentity};
use netlink::Netlink;
use parking_lot::Mutex;
use prometheus::Registry;
use runtime::{Readiness, Tasks};
use statedb::{Database, reconciler};
use tables::NodeRow;
use tokio::sync::watch;

use crate::api_server::{self, Shared};
use crate::{Args, exports, monitor, node, restore, status};

/// Starts every part; they run until `tasks` stops.
pub(crate) async fn assemble(tasks: &Tasks, args: &Args) -> Result<()> {
    model::check_cluster(&args.cluster_name, args.cluster_id)?;
    let layout = ClusterIdLayout::try_new(args.max_connected_clusters)?;
    if args.cluster_id != ClusterId::NONE {
        layout.check(args.cluster_id)?;
    }
    if args.kvstore != "etcd" {
        bail!("--kvstore {:?} is not supported; supported is etcd", args.kvstore);
    }
    let own = node::own(args)?;
    let own_key = (own.cluster.clone(), own.name.clone());
    let mut netlink = Netlink::open().context("reach the kernel's routing tables")?;
    let underlay = node::underlay(args, &mut netlink)?;
    let (registry, readiness) = (Registry::new(), Readiness::default());

    // === tables ===
    let database = Database::default();
    let (nodes, nodes_read) = database.table();
    let (identities, identities_read) = database.table();
    let (ips, ips_read) = database.table();
    let (global_services, global_services_read) = database.table();
    let (remote_clusters, remote_clusters_read) = database.table();
    let (rejected, _) = database.table();
    let (alarms, alarms_read) = database.table();
    let (pods, pods_read) = database.table();
    let (namespaces, namespaces_read) = database.table();
    let (services, services_read) = database.table();
    let (backends, backends_read) = database.table();
    let (rules, rules_read) = database.table();
    let (endpoints, endpoints_read) = database.table();
    let (requests, requests_read) = database.table();
    let (grants, grants_read) = database.table();
    let (policy_map, policy_map_read) = database.table();
    let (progress, progress_read) = database.table();
    let (selectors, selectors_read) = database.table();
    let (ipcache, ipcache_read) = database.table();
    let (frontends, frontends_read) = database.table();
    let (realized, realized_read) = database.table();
    let (exported, exported_read) = database.table();

    // === what is known without any store ===
    nodes.upsert(NodeRow { node: Arc::new(own.clone()) });
    for identity in exports::reserved_identities(&args.cluster_name) {
        identities.upsert(identity);
    }
    let snapshots = args.lib_dir.join("snapshots");
    restored(reflector::restore(&snapshots, &nodes));
    restored(reflector::restore(&snapshots, &identities));
    restored(reflector::restore(&snapshots, &ips));
    restored(reflector::restore(&snapshots, &global_services));

    // === the kernel ===
    let mut config = datapath::Config::new(&args.bpf_root);
    config.router_ipv4 = own.cilium_internal_ipv4();
    config.router_ipv6 = own.cilium_internal_ipv6();
    config.pod_cidrs = own.pod_cidrs().collect();
    config.device_mtu = underlay.mtu;
    config.tunnel_port = args.tunnel_port;
    config.audit = args.policy_audit_mode;
    let cni_config = cni_config(args, &config);
    let loaded = datapath::Datapath::start(config).context("start the datapath")?;
    let cidrs = args.ipv4_range.into_iter().chain(args.ipv6_range);
    let mut ipam = ipam::Ipam::open(cidrs, &args.state_dir.join("ipam.json"))?;
    let queue = args.socket_path.with_file_name("deleteQueue");
    let endpoint_files = args.state_dir.join("endpoints");
    let restored_rows = restore::endpoints(&endpoint_files, &queue, &mut ipam, &mut netlink)?;
    tracing::info!(endpoints = restored_rows.len(), "endpoints restored");
    let announced = endpoints.announce("restored");

    // === the store ===
    let options = kvstore::Options::parse(&args.kvstore_opt)?;
    let client = options.connect().await?;
    let store: Arc<dyn Backend> = client.clone();
    let leases = Leases::new(Arc::clone(&store), args.kvstore_lease_ttl);
    let lock_leases = Leases::new(Arc::clone(&store), kvstore::LOCK_LEASE_TTL);
    tasks.spawn("kvstore-leases", Arc::clone(&leases).keep_alive());
    tasks.spawn("kvstore-probe", status::probe(Arc::clone(&client)));
    let freshness = reflector::Freshness::default();
    let health = freshness.store(&args.cluster_name, args.kvstore_lease_ttl);
    tasks.spawn("kvstore-heartbeat", reflector::follow_heartbeat(Arc::clone(&store), Arc::clone(&health)));
    let exporter = reflector::Exporter::new(Arc::clone(&store), Arc::clone(&leases), exported_read, Vec::new());
    let metrics = reflector::Metrics::new(&registry);
    let import = reflector::Import {
        store: Arc::clone(&store),
        cluster: args.cluster_name.clone(),
        source: model::Source::Kvstore,
        cached: false,
        rejected: rejected.clone(),
        alarms: alarms.clone(),
        metrics: metrics.clone(),
        health,
        exporter: Some(exporter.clone()),
        quota: usize::MAX,
    };
    let own_name = Some(own.name.clone());
    tasks.spawn("import-nodes", import.clone().nodes(args.cluster_id, own_name, nodes.clone()));
    tasks.spawn("import-identities", import.clone().identities(args.cluster_id, layout, identities.clone()));
    tasks.spawn("import-ips", import.ips(args.cluster_id, layout, ips.clone()));
    tasks.spawn("save-nodes", reflector::save_loop(snapshots.clone(), nodes_read.clone()));
    tasks.spawn("save-identities", reflector::save_loop(snapshots.clone(), identities_read.clone()));
    tasks.spawn("save-ips", reflector::save_loop(snapshots.clone(), ips_read.clone()));
    tasks.spawn("save-services", reflector::save_loop(snapshots, global_services_read.clone()));
    let export_handle = reconciler::Handle::new(reconciler::Options::default());
    tasks.spawn("export", exporter.run(export_handle.clone()));
    exported.upsert(exports::node_export(&own));
    tasks.spawn("export-endpoints", exports::run(endpoints_read.clone(), exported, own.name.clone(), args.node_ip()?));
    tasks.spawn(
        "identity-allocator",
        identity_allocator::run(identity_allocator::Inputs {
            requests: requests_read,
            identities: identities_read.clone(),
            grants,
            store,
            leases: Arc::clone(&leases),
            cluster: args.cluster_name.clone(),
            range: layout.allocation_range(args.cluster_id),
            node_ip: args.node_ip()?,
            file: args.lib_dir.join("identities-held.snap"),
        }),
    );
    let mesh = clustermesh::run(
        tasks.clone(),
        args.clustermesh_config.clone(),
        clustermesh::Options {
            own: clustermesh::Own { name: args.cluster_name.clone(), id: args.cluster_id, layout },
            connect: clustermesh::etcd_connector(options.clone()),
            lease_ttl: args.kvstore_lease_ttl,
            freshness: freshness.clone(),
            metrics,
        },
        clustermesh::Tables {
            nodes,
            ips,
            identities,
            global_services,
            remote_clusters,
            rejected,
            alarms: alarms.clone(),
        },
    );
    tasks.spawn("clustermesh", mesh);

    // === objects and logic ===
    let parse = k8s::ParseOptions {
        cluster: args.cluster_name.to_string().into(),
        default_local_cluster: args.policy_default_local_cluster,
    };
    let objects = k8s::Tables { pods, namespaces, services, backends: backends.clone(), rules, alarms };
    tasks.spawn("k8s", k8s::run(objects, args.k8s_manifests.clone(), parse));
    tasks.spawn(
        "selector-backends",
        loadbalancer::run_selector_backends(loadbalancer::BackendInputs {
            services: services_read.clone(),
            ips: ips_read.clone(),
            identities: identities_read.clone(),
            backends,
            cluster: args.cluster_name.clone(),
        }),
    );
    tasks.spawn(
        "frontends",
        loadbalancer::run_frontends(loadbalancer::FrontendInputs {
            services: services_read.clone(),
            backends: backends_read.clone(),
            remote: global_services_read.clone(),
            frontends,
        }),
    );
    tasks.spawn(
        "policy",
        policy::run(
            policy::Inputs {
                rules: rules_read.clone(),
                identities: identities_read.clone(),
                endpoints: endpoints_read.clone(),
                ipcache: ipcache_read.clone(),
                map: policy_map,
                progress,
                selectors,
            },
            policy::Options {
                enable: args.enable_policy,
                cluster: args.cluster_name.to_string().into(),
                allow_localhost: args.allow_localhost != "policy",
            },
        ),
    );
    tasks.spawn(
        "ipcache",
        ipcache::run(ipcache::Inputs {
            endpoints: endpoints_read.clone(),
            nodes: nodes_read.clone(),
            ips: ips_read.clone(),
            identities: identities_read.clone(),
            progress: progress_read.clone(),
            ipcache,
            own: own_key,
            own_ips: own.addresses.iter().map(|address| address.ip).collect(),
        }),
    );
    let (manager, driver) = endpoint::Manager::new();
    let endpoint_tables = endpoint::Tables {
        pods: pods_read,
        namespaces: namespaces_read,
        grants: grants_read,
        realized: realized_read.clone(),
        endpoints,
        requests,
    };
    let restored = endpoint::Restored { rows: restored_rows, announced };
    tasks.spawn(
        "endpoints",
        endpoint::run(driver, endpoint_tables, args.cluster_name.clone(), endpoint_files, restored),
    );

    // === the kernel, from the tables ===
    let datapath_tables = datapath::Tables {
        endpoints: endpoints_read.clone(),
        ipcache: ipcache_read.clone(),
        policy: policy_map_read.clone(),
        progress: progress_read,
        frontends: frontends_read.clone(),
    };
    let (datapath_status, datapath_seen) = watch::channel(datapath::Status::default());
    let inputs =
        datapath::driver::Inputs { datapath: loaded, tables: datapath_tables, nodes: nodes_read.clone(), realized };
    tasks.spawn("datapath", datapath::driver::run(inputs, datapath_status));
    let events = Events::default();
    events.set_level(monitor_level(&args.monitor_aggregation));
    tasks.spawn("datapath-events", EventReader::open(&args.bpf_root, events.clone())?.run());
    registry.register(Box::new(datapath::PacketMetrics::new(&args.bpf_root)?))?;

    // === readiness ===
    let ready = readiness.condition("kvstore");
    let (nodes_wait, ips_wait, identities_wait) = (nodes_read.clone(), ips_read.clone(), identities_read.clone());
    tasks.spawn_finite("ready-kvstore", async move {
        nodes_wait.wait_for(|nodes| !nodes.pending().any(|source| source == tables::KVSTORE)).await;
        ips_wait.wait_for(|ips| !ips.pending().any(|source| source == tables::KVSTORE)).await;
        identities_wait.wait_for(|identities| !identities.pending().any(|source| source == tables::KVSTORE)).await;
        ready.ready();
    });
    let ready = readiness.condition("kubernetes objects");
    let services_wait = services_read.clone();
    tasks.spawn_finite("ready-k8s", async move {
        services_wait.wait_for(statedb::Snapshot::is_initialised).await;
        ready.ready();
    });
    let ready = readiness.condition("datapath");
    let mut first_round = datapath_seen.clone();
    tasks.spawn_finite("ready-datapath", async move {
        // The kernel reflects a policy: from then on endpoints can be realised.
        if first_round
            .wait_for(|status| status.error.is_none() && status.policy_revision > 0 || status.pruned)
            .await
            .is_ok()
        {
            ready.ready();
        }
    });

    // === those who ask ===
    let shared = Arc::new(Shared {
        config: cni_config,
        node: format!("{}/{}", own.cluster, own.name),
        identity_range: range_text(layout, args),
        bpf_root: args.bpf_root.clone(),
        database,
        ipam: Mutex::new(ipam),
        endpoints: manager,
        tables: api_server::Tables {
            endpoints: endpoints_read,
            realized: realized_read,
            identities: identities_read.clone(),
            ips: ips_read,
            ipcache: ipcache_read,
            nodes: nodes_read,
            rules: rules_read,
            policy_map: policy_map_read,
            selectors: selectors_read,
            frontends: frontends_read,
            global_services: global_services_read,
            remote_clusters: remote_clusters_read,
            alarms: alarms_read,
        },
        health: status::Health {
            readiness: readiness.clone(),
            client,
            leases,
            lock_leases,
            datapath: datapath_seen,
            exports: export_handle,
            freshness,
        },
    });
    let bind = |path: &Path| {
        api_server::bind(path)
            .map_err(|(path, error)| anyhow::Error::new(error).context(format!("listen on {}", path.display())))
    };
    let monitor_socket = args.socket_path.with_file_name(api::paths::MONITOR_SOCKET);
    tasks.spawn("monitor", monitor::serve(bind(&monitor_socket)?, events, identities_read));
    tasks.spawn("api", api_server::serve(bind(&args.socket_path)?, shared));
    runtime::serve_admin(tasks, args.agent_health_addr, readiness.clone(), registry.clone()).await?;
    if let Some(address) = args.prometheus_serve_addr {
        runtime::serve_admin(tasks, address, readiness, registry).await?;
    }
    tracing::info!(node = %own.name, cluster = %own.cluster, id = %own.cluster_id, "agent started");
    Ok(())
}

/// A damaged snapshot is a start with less: the store has it all.
fn restored(result: Result<usize, reflector::SnapshotError>) {
    match result {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "rows of the last run restored"),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "snapshot not used");
        }
    }
}

fn cni_config(args: &Args, config: &datapath::Config) -> api::Config {
    let family = |range: Option<model::Prefix>| {
        range.map(|range| api::FamilyAddress {
            enabled: true,
            ip: node::router(range).to_string(),
            alloc_range: range.to_string(),
        })
    };
    api::Config {
        addressing: api::Addressing { ipv4: family(args.ipv4_range), ipv6: family(args.ipv6_range) },
        device_mtu: config.device_mtu,
        route_mtu: config.route_mtu(),
        datapath_mode: "veth".to_owned(),
    }
}

fn monitor_level(text: &str) -> MonitorLevel {
    match text {
        "none" => MonitorLevel::None,
        "low" => MonitorLevel::Low,
        "maximum" => MonitorLevel::Maximum,
        _ => MonitorLevel::Medium,
    }
}

fn range_text(layout: ClusterIdLayout, args: &Args) -> String {
    let range = layout.allocation_range(args.cluster_id);
    format!("min {}, max {}", NumericIdentity::new(*range.start()), NumericIdentity::new(*range.end()))
}
