//! The demo's proofs, each as a check of one mesh, and what a mesh's operator does by hand.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::demo::{PROOFS, SETTLE, Stage, dump};
use testbed::{StoreKind, wait_until};

/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(3);

#[test]
fn every_proof_of_the_demo_holds() {
    let Some(_machine) = crate::machine("mesh") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut stage = crate::stage(folder.path()).expect("the mesh comes up");
    for proof in &PROOFS {
        match (proof.prove)(&mut stage) {
            Ok(observed) => println!("{}: {observed}", proof.promise),
            Err(error) => panic!("{}: {error:#}", proof.promise),
        }
    }
    removed_cluster_is_drained_at_once_and_comes_back(&stage).expect("the mesh follows its client files");
    crate::commands::every_list_prints(&stage).expect("the commands print");
    nothing_is_done_when_nothing_happens(&stage).expect("an idle mesh is idle");
}

/// The story of two clusters and the outage of a store, on the kind of store that the other tests do not use.
#[test]
fn the_story_and_the_outage_hold_on_the_other_store() {
    let Some(_machine) = crate::machine("mesh on the other store") else { return };
    let other = match crate::store() {
        StoreKind::Embedded => StoreKind::Etcd,
        StoreKind::Etcd => StoreKind::Embedded,
    };
    let folder = tempfile::tempdir().unwrap();
    let mut stage = crate::stage_on(other, folder.path()).expect("the mesh comes up");
    for proof in PROOFS.iter().filter(|proof| proof.store) {
        match (proof.prove)(&mut stage) {
            Ok(observed) => println!("on {other}: {}: {observed}", proof.promise),
            Err(error) => panic!("on {other}: {}: {error:#}", proof.promise),
        }
    }
}

/// Agents and operators once read their manifests without end: to read a file was an event, and each event was answered
/// by reading. It cost a fifth of a core each.
fn nothing_is_done_when_nothing_happens(stage: &Stage) -> Result<()> {
    let processes: Vec<_> = stage.bed.agents.iter().chain(&stage.bed.operators).collect();
    let ticks = || processes.iter().map(|(_, process)| process.cpu_ticks()).collect::<Result<Vec<u64>>>();
    let before = ticks()?;
    std::thread::sleep(IDLE);
    for (((name, _), before), after) in processes.iter().zip(before).zip(ticks()?) {
        // The kernel counts in hundredths of a second.
        let share = (after - before) as f64 / 100.0 / IDLE.as_secs_f64();
        ensure!(share < 0.08, "{name} takes {:.0} % of a core with nothing to do", share * 100.0);
    }
    Ok(())
}

/// What the user asks for is no loss: a removed client file takes the cluster's rows along, without hold.
fn removed_cluster_is_drained_at_once_and_comes_back(stage: &Stage) -> Result<()> {
    let node = stage.node_of("client-a")?;
    let west = stage.pod("echo-w")?.ipv4.to_string();
    let known =
        || Ok::<_, anyhow::Error>(dump::rows(&stage.bed, node, "ipcache")?.iter().any(|row| row.starts_with(&west)));
    ensure!(known()?, "control: the kernel knows the pod of west");
    stage.bed.disconnect("east", "west")?;
    wait_until("the rows of west are gone", SETTLE, || {
        ensure!(!known()?, "the kernel still knows {west}");
        Ok(())
    })?;
    stage.expect("client-a", "echo-b", false, true).context("the own cluster is untouched")?;
    stage.bed.connect("east", "west")?;
    wait_until("the rows of west are back", SETTLE, || {
        ensure!(known()?, "the kernel does not know {west}");
        Ok(())
    })?;
    stage.expect("client-a", "echo-w", false, true)
}
