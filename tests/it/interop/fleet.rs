//! A cluster of ours with fifty nodes and five hundred addresses: one whole agent and an operator, and the rest nodes
//! without a kernel (`agent/examples/fleet.rs`), which write to the store as agents do.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{Bed, PodSpec, Process, wait_until};

/// Nodes without a kernel, and the pods of each.
const NODES: usize = 50;
const PODS: usize = 5;
/// Global services; each has the pods of one label set.
const SERVICES: usize = 50;

/// Until the fleet has published everything: identities are allocated one by one.
const READY: Duration = Duration::from_secs(90);

/// Publishes the fleet in east, with a Service for every second label set and two pods of the whole agent.
pub(super) fn start(bed: &mut Bed) -> Result<Process> {
    for number in 1..=SERVICES {
        let ips = [format!("10.98.0.{number}"), format!("fd98::{number}")];
        let annotations = [("service.cilium.io/global", "true")];
        bed.manifests("east")?.service(
            "demo",
            &format!("svc-{number}"),
            &format!("app-{number}"),
            &ips,
            &annotations,
        )?;
    }
    for (name, app) in [("whole-a", "app-1"), ("whole-b", "own")] {
        bed.add_pod("east", 0, PodSpec::new("demo", name, app))?;
    }
    let program = bed.binaries.causeway.with_file_name("examples").join("fleet");
    ensure!(program.exists(), "{} is not built: cargo build --package agent --example fleet", program.display());
    let cluster = bed.cluster("east")?.clone();
    let words = [
        program.display().to_string(),
        format!("--nodes={NODES}"),
        format!("--pods={PODS}"),
        format!("--dir={}", bed.plan.dir.join("fleet").display()),
        "--cluster-name=east".to_owned(),
        "--cluster-id=1".to_owned(),
        format!("--kvstore-opt=etcd.address={},etcd.qps=10000", bed.stores["east"].endpoint),
    ];
    let log = bed.plan.dir.join("fleet.log");
    let mut fleet = bed.spawn("fleet", &cluster.store_netns, &log, &words)?;
    wait_ready(&mut fleet, 1)?;
    Ok(fleet)
}

/// Waits until it has said for the nth time that everything is published.
pub(super) fn wait_ready(fleet: &mut Process, times: usize) -> Result<()> {
    wait_until("the fleet is published", READY, || {
        fleet.check()?;
        let log = std::fs::read_to_string(fleet.log())?;
        ensure!(log.lines().filter(|line| *line == "ready").count() == times, "{}", tail(&log));
        Ok(())
    })
}

/// How many of each kind such a cluster has at least: nodes, addresses, identities, services.
pub(super) fn least(kind: &str) -> usize {
    match kind {
        "node" => NODES,
        "ip" => NODES * PODS * 2,
        "identity" | "user" => 100,
        "service" => SERVICES,
        _ => 1,
    }
}

/// Keys and values below a prefix of a store, as etcdctl sees them.
pub(super) fn dump(bed: &Bed, cluster: &str, prefix: &str) -> Result<std::collections::BTreeMap<String, String>> {
    let text = bed.stores.get(cluster).context("the cluster has a store")?.etcdctl(&["get", "--prefix", prefix])?;
    let mut lines = text.lines();
    let mut found = std::collections::BTreeMap::new();
    while let (Some(key), Some(value)) = (lines.next(), lines.next()) {
        found.insert(key.to_owned(), value.to_owned());
    }
    Ok(found)
}

/// The kind that a check of a store is, and both where time allows.
pub(super) fn kinds(test: &str) -> Vec<testbed::StoreKind> {
    use testbed::StoreKind::{Embedded, Etcd};
    if std::env::var_os("CAUSEWAY_INTEROP").is_some() {
        return vec![Etcd, Embedded];
    }
    println!("{test}: ran 1 of 2 kinds of store (cargo xtask interop runs both)");
    vec![crate::store()]
}

/// A plan of these clusters, with one node each.
pub(super) fn plan(kind: testbed::StoreKind, folder: &Path, names: &[&str]) -> testbed::Plan {
    let mut plan = testbed::Plan { store: kind, ..crate::plan(folder, 3) };
    plan.clusters.retain(|cluster| names.contains(&cluster.name.as_str()));
    for cluster in &mut plan.clusters {
        cluster.nodes.truncate(1);
    }
    plan
}

fn tail(log: &str) -> String {
    log.lines().rev().take(3).collect::<Vec<_>>().join("\n")
}
