//! Everything that scenarios break, mended: one that was interrupted must not fail the next.

use anyhow::Result;
use testbed::demo::service::relabel;
use testbed::demo::{PODS, Stage};
use testbed::{PodSpec, Process};

use crate::clock;
use crate::scenarios::agent;

/// Mends what it finds broken; nothing when nothing is.
pub(crate) fn mend(stage: &mut Stage) -> Result<()> {
    links(stage)?;
    stores(stage)?;
    processes(stage)?;
    pods(stage)
}

fn links(stage: &mut Stage) -> Result<()> {
    let bed = &mut stage.bed;
    for cluster in bed.plan.clusters.clone() {
        for port in [&cluster.mesh_out, &cluster.mesh_in] {
            if bed.network.dropped(port)?.is_some() {
                bed.network.set_silent(port, false)?;
            }
        }
        if bed.network.dropped(&cluster.store_port())?.is_some() {
            bed.network.set_silent(&cluster.store_port(), false)?;
        }
        if bed.network.store_dropped(&cluster)?.is_some() {
            bed.network.set_store_silent(&cluster, false)?;
        }
        for remote in bed.plan.clusters.clone() {
            if remote.name != cluster.name {
                bed.connect(&cluster.name, &remote.name)?;
            }
        }
    }
    Ok(())
}

/// Every store first: an agent that lacks one, its own or another cluster's, is never ready.
fn stores(stage: &mut Stage) -> Result<()> {
    for cluster in stage.bed.plan.clusters.clone() {
        let (store, ledger) = stage.bed.store(&cluster.name)?;
        if !store.process.is_alive() {
            store.restart(ledger)?;
        }
        store.process.resume()?;
    }
    Ok(())
}

fn processes(stage: &mut Stage) -> Result<()> {
    clock::of_the_machine(&mut stage.bed)?;
    let bed = &mut stage.bed;
    for cluster in bed.plan.clusters.clone() {
        if !bed.operators.get_mut(&cluster.name).is_some_and(Process::is_alive) {
            bed.restart(|parts| parts.operators.get_mut(&cluster.name))?;
        }
        if let Some(operator) = bed.operators.get_mut(&cluster.name) {
            operator.resume()?;
        }
        for node in &cluster.nodes {
            if !bed.agents.get_mut(&node.name).is_some_and(Process::is_alive) {
                bed.restart(|parts| parts.agents.get_mut(&node.name))?;
            }
            if let Some(agent) = bed.agents.get_mut(&node.name) {
                agent.resume()?;
            }
        }
    }
    let nodes: Vec<_> = bed.plan.clusters.iter().flat_map(|cluster| cluster.nodes.clone()).collect();
    nodes.iter().try_for_each(|node| bed.wait_ready(node))
}

/// Pods that took an address leave, and each of the demo's is there, serves and has its label.
fn pods(stage: &mut Stage) -> Result<()> {
    let bed = &mut stage.bed;
    for cluster in ["east", "west"] {
        bed.manifests(cluster)?.remove_policy("demo", agent::COLD_POLICY)?;
    }
    let strangers: Vec<_> = bed.pods.keys().filter(|name| name.ends_with(agent::TAKER)).cloned().collect();
    for pod in strangers {
        bed.remove_pod(&pod)?;
    }
    for (cluster, node, name, app) in PODS {
        if stage.bed.pods.contains_key(name) {
            relabel(stage, name, app)?;
            continue;
        }
        stage.bed.add_pod(cluster, node, PodSpec::new("demo", name, app))?;
        stage.bed.serve(name)?;
    }
    Ok(())
}
