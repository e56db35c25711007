//! Objects and logic: from what is known to what shall be.

use std::path::PathBuf;
use std::time::Duration;

use model::Node;
use runtime::Tasks;
use tables::Endpoint;

use crate::Args;
use crate::database::Tables;

/// A store that is down must not hold up services for ever.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// Starts the controllers. Tables in, tables out.
pub(crate) fn start(tasks: &Tasks, args: &Args, own: &Node, tables: &Tables) {
    let cluster = || args.cluster_name.to_string().into();
    let families = model::Families { ipv4: own.ipv4_alloc_cidr.is_some(), ipv6: own.ipv6_alloc_cidr.is_some() };
    let parse =
        k8s::ParseOptions { cluster: cluster(), default_local_cluster: args.policy_default_local_cluster, families };
    let objects = k8s::Tables {
        nodes: tables.node_objects.write.clone(),
        // The operator's business.
        ip_pools: statedb::table().0,
        pods: tables.pods.write.clone(),
        namespaces: tables.namespaces.write.clone(),
        services: tables.services.write.clone(),
        backends: tables.backends.write.clone(),
        rules: tables.rules.write.clone(),
        alarms: tables.alarms.write.clone(),
    };
    tasks.spawn("k8s", k8s::run(objects, args.k8s_manifests.clone(), parse));
    let backends = loadbalancer::BackendInputs {
        services: tables.services.read.clone(),
        ips: tables.ips.read.clone(),
        identities: tables.identities.read.clone(),
        backends: tables.backends.write.clone(),
        cluster: args.cluster_name.clone(),
        patience: Some(STORE_PATIENCE),
    };
    tasks.spawn("selector-backends", loadbalancer::run_selector_backends(backends));
    let frontends = loadbalancer::FrontendInputs {
        services: tables.services.read.clone(),
        backends: tables.backends.read.clone(),
        remote: tables.global_services.read.clone(),
        remote_slices: tables.remote_slices.read.clone(),
        frontends: tables.frontends.write.clone(),
    };
    tasks.spawn("frontends", loadbalancer::run_frontends(frontends));
    let ranges = identity_allocator::CidrInputs {
        rules: tables.rules.read.clone(),
        identities: tables.identities.write.clone(),
        cidrs: tables.cidr_identities.write.clone(),
        cluster: args.cluster_name.clone(),
        families,
        file: args.lib_dir.join("cidr-identities.snap"),
    };
    // Before who waits for complete tables: what it has on disk is there at once.
    tasks.spawn("cidr-identities", identity_allocator::run_cidrs(ranges));
    let inputs = policy::Inputs {
        rules: tables.rules.read.clone(),
        identities: tables.identities.read.clone(),
        endpoints: tables.endpoints.read.clone(),
        ipcache: tables.ipcache.read.clone(),
        map: tables.policy_map.write.clone(),
        progress: tables.progress.write.clone(),
        selectors: tables.selectors.write.clone(),
    };
    tasks.spawn("policy", policy::run(inputs, policy_options(args)));
    let claims = ipcache::Inputs {
        endpoints: tables.endpoints.read.clone(),
        nodes: tables.nodes.read.clone(),
        ips: tables.ips.read.clone(),
        cidrs: tables.cidr_identities.read.clone(),
        identities: tables.identities.read.clone(),
        progress: tables.progress.read.clone(),
        ipcache: tables.ipcache.write.clone(),
        own: ipcache::Own {
            cluster: own.cluster.clone(),
            name: own.name.clone(),
            ips: own.addresses.iter().map(|address| address.ip).collect(),
            dual_stack: own.ipv4_alloc_cidr.is_some() && own.ipv6_alloc_cidr.is_some(),
        },
    };
    tasks.spawn("ipcache", ipcache::run(claims));
}

/// How policy is resolved, and explained.
pub(crate) fn policy_options(args: &Args) -> policy::Options {
    policy::Options {
        enable: args.enable_policy,
        cluster: args.cluster_name.to_string().into(),
        allow_localhost: args.allow_localhost != "policy",
    }
}

/// Starts the lifecycle of endpoints with those of an earlier run; its handle for the API.
pub(crate) fn endpoints(
    tasks: &Tasks,
    args: &Args,
    tables: &Tables,
    folder: PathBuf,
    rows: Vec<Endpoint>,
) -> endpoint::Manager {
    let (manager, driver) = endpoint::Manager::new();
    let inputs = endpoint::Tables {
        pods: tables.pods.read.clone(),
        namespaces: tables.namespaces.read.clone(),
        grants: tables.grants.read.clone(),
        realized: tables.realized.read.clone(),
        endpoints: tables.endpoints.write.clone(),
        requests: tables.requests.write.clone(),
    };
    let restored = endpoint::Restored { rows, announced: tables.endpoints.write.announce("restored") };
    let labelling = endpoint::Labelling {
        cluster: args.cluster_name.clone(),
        filter: args.labels.clone(),
        fixed: args.fixed_identity_mapping.clone(),
    };
    tasks.spawn("endpoints", endpoint::run(driver, inputs, labelling, folder, restored));
    manager
}
