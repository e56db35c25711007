//! Every part, put together.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use datapath::events::{EventReader, Events, MonitorLevel};
use model::{ClusterIdLayout, NumericIdentity};
use netlink::Netlink;
use parking_lot::Mutex;
use prometheus::Registry;
use runtime::{Readiness, Tasks};
use statedb::Database;
use tables::NodeRow;
use tokio::sync::watch;

use crate::api_server::{self, Shared};
use crate::arrivals::{self, Arrivals};
use crate::database::Tables;
use crate::history::History;
use crate::metrics::StatusMetrics;
use crate::{
    Args, alarms, exports, logic, monitor, node, node_events, own_node, preflight, ranges, readiness, restore,
    snapshots, status, store,
};

/// Starts every part; they run until `tasks` stops.
///
/// The result holds this agent's directories: it must live as long as the agent.
pub(crate) async fn assemble(tasks: &Tasks, args: &Args) -> Result<preflight::Held> {
    let layout = preflight::layout(args)?;
    let mut netlink = Netlink::open().context("reach the kernel's routing tables")?;
    let mut held = preflight::check(args, &mut netlink)?;
    // Nobody hands out ranges to an agent that cannot start.
    let (args, handed_out) = ranges::resolve(args).await?;
    let args = &args;
    let own = node::own(args)?;
    preflight::ranges(args, &mut netlink)?;
    let (registry, ready, database) = (Registry::new(), Readiness::default(), Database::default());
    let tables = Tables::new(&database);

    // What is known without any store.
    tables.nodes.write.upsert(NodeRow { node: Arc::new(own.clone()) });
    for identity in exports::reserved_identities(&args.cluster_name, &args.fixed_identity_mapping) {
        tables.identities.write.upsert(identity);
    }
    let saved = args.lib_dir.join("snapshots");
    snapshots::restore(&saved, &tables);

    // The kernel, and what an earlier run left in it.
    let config = datapath_config(args, &own, &mut netlink)?;
    let cni_config = cni_config(args, &config);
    let datapath = datapath::Datapath::start(config).context("start the datapath")?;
    held.take("--bpf-root", &args.bpf_root)?;
    let ranges = args.ipv4_range.into_iter().chain(args.ipv6_range);
    let mut ipam = ipam::Ipam::open(ranges, &args.state_dir.join("ipam.json"))?;
    let files = args.state_dir.join("endpoints");
    let rows = restore::endpoints(&files, &args.socket_path.with_file_name("deleteQueue"), &mut ipam, &mut netlink)?;
    tracing::info!(endpoints = rows.len(), "endpoints restored");

    let endpoints = logic::endpoints(tasks, args, &tables, files, rows);
    let ipam = Arc::new(Mutex::new(ipam));
    let (hand_out, handed_out) = watch::channel(handed_out);
    let own_node = own_node::Inputs {
        base: own.clone(),
        ranges: handed_out,
        objects: tables.node_objects.read.clone(),
        nodes: tables.nodes.write.clone(),
        ipam: Arc::clone(&ipam),
        alarms: tables.alarms.write.clone(),
    };
    tasks.spawn("own-node", own_node::run(own_node));
    tasks.spawn("node-events", node_events::count(tables.nodes.read.clone(), registry.clone()));
    let store = store::start(tasks, args, layout, &own, &tables, &registry).await?;
    if ranges::are_handed_out(args) {
        let follow = ranges::Inputs {
            store: Arc::clone(&store.client) as Arc<dyn kvstore::Backend>,
            cluster: own.cluster.clone(),
            node: own.name.clone(),
            file: ranges::path(args),
            pre_allocation: args.ipam_multi_pool_pre_allocation.clone(),
            ipam: Arc::clone(&ipam),
            exports: tables.exports.write.clone(),
            ranges: hand_out,
        };
        if ranges::of_pools(args) {
            tasks.spawn("pod-ranges", ranges::run(follow));
        }
    }
    snapshots::save(tasks, &saved, &tables);
    logic::start(tasks, args, &own, &tables);
    let journal = datapath::Journal::default();
    journal.listen(Arc::new(Arrivals(store.propagation.clone())));
    let (datapath_status, events) = drive_datapath(tasks, args, &tables, datapath, journal.clone(), &registry)?;
    let arriving = arrivals::identities(tables.clone(), datapath_status.clone(), store.propagation.clone());
    tasks.spawn("arrivals", arriving);
    readiness::start(tasks, &ready, &tables, Arc::clone(&store.client), datapath_status.clone());
    let twins = alarms::identity_twins(tables.identities.read.clone(), tables.alarms.write.clone());
    tasks.spawn("identity-alarms", twins);
    tasks.spawn("datapath-alarms", alarms::policy_overflows(datapath_status.clone(), tables.alarms.write.clone()));

    let monitor_socket = args.socket_path.with_file_name(api::paths::MONITOR_SOCKET);
    let history = History::default();
    tasks.spawn("history", history.clone().follow(tables.clone()));
    let sources = monitor::Sources {
        packets: events,
        history: history.clone(),
        identities: tables.identities.read.clone(),
        endpoints: tables.endpoints.read.clone(),
    };
    tasks.spawn("monitor", monitor::serve(bind(&monitor_socket)?, sources));
    let health = status::Health {
        node: format!("{}/{}", own.cluster, own.name),
        cluster: own.cluster.clone(),
        identity_range: range_text(layout, args),
        readiness: ready.clone(),
        datapath: datapath_status,
        store,
        tables: tables.clone(),
        tasks: tasks.clone(),
        ipam: Arc::clone(&ipam),
        maps: status::MapUses::new(&args.bpf_root),
    };
    let health = Arc::new(health);
    registry.register(Box::new(StatusMetrics { health: Arc::clone(&health), journal: journal.clone() }))?;
    let shared = Shared {
        config: cni_config,
        policy: logic::policy_options(args),
        journal,
        registry: registry.clone(),
        history,
        bpf_root: args.bpf_root.clone(),
        database,
        ipam,
        of_pools: ranges::of_pools(args),
        endpoints,
        tables,
        health,
    };
    tasks.spawn("api", api_server::serve(bind(&args.socket_path)?, Arc::new(shared)));
    runtime::serve_admin(tasks, args.agent_health_addr, ready.clone(), registry.clone()).await?;
    if let Some(address) = args.prometheus_serve_addr {
        runtime::serve_admin(tasks, address, ready, registry).await?;
    }
    tracing::info!(node = %own.name, cluster = %own.cluster, id = %own.cluster_id, "agent started");
    Ok(held)
}

fn datapath_config(args: &Args, own: &model::Node, netlink: &mut Netlink) -> Result<datapath::Config> {
    let mut config = datapath::Config::new(&args.bpf_root);
    config.router_ipv4 = own.cilium_internal_ipv4();
    config.router_ipv6 = own.cilium_internal_ipv6();
    config.pod_cidrs = own.pod_cidrs().collect();
    config.device_mtu = node::underlay(args, netlink)?.mtu;
    config.tunnel_port = args.tunnel_port;
    config.audit = args.policy_audit_mode;
    config.policy_max = args.bpf_policy_map_max;
    Ok(config)
}

/// The kernel from the tables, and packets' events and counters from the kernel.
fn drive_datapath(
    tasks: &Tasks,
    args: &Args,
    tables: &Tables,
    datapath: datapath::Datapath,
    journal: datapath::Journal,
    registry: &Registry,
) -> Result<(watch::Receiver<datapath::Status>, Events)> {
    let (sender, status) = watch::channel(datapath::Status::default());
    let inputs = datapath::driver::Inputs {
        datapath,
        tables: datapath::Tables {
            endpoints: tables.endpoints.read.clone(),
            ipcache: tables.ipcache.read.clone(),
            policy: tables.policy_map.read.clone(),
            progress: tables.progress.read.clone(),
            frontends: tables.frontends.read.clone(),
        },
        nodes: tables.nodes.read.clone(),
        realized: tables.realized.write.clone(),
        journal,
    };
    tasks.spawn("datapath", datapath::driver::run(inputs, sender));
    let events = Events::default();
    events.set_level(match args.monitor_aggregation.as_str() {
        "none" => MonitorLevel::None,
        "low" => MonitorLevel::Low,
        "maximum" => MonitorLevel::Maximum,
        _ => MonitorLevel::Medium,
    });
    tasks.spawn("datapath-events", EventReader::open(&args.bpf_root, events.clone())?.run());
    registry.register(Box::new(datapath::PacketMetrics::new(&args.bpf_root)?))?;
    Ok((status, events))
}

fn bind(path: &Path) -> Result<tokio::net::UnixListener> {
    api_server::bind(path).with_context(|| format!("listen on {}", path.display()))
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

fn range_text(layout: ClusterIdLayout, args: &Args) -> String {
    let range = layout.allocation_range(args.cluster_id);
    format!("min {}, max {}", NumericIdentity::new(*range.start()), NumericIdentity::new(*range.end()))
}
