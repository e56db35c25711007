//! A running mesh moves from one kind of store to the other and back. Identities stay, no packet is lost or let through,
//! and work goes on after each move.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::demo::{SETTLE, Stage, policy};
use testbed::flow::Flow;
use testbed::server::Server;
use testbed::{PodSpec, StoreKind, wait_until};

#[test]
fn a_running_mesh_moves_to_another_store_and_back_without_a_packet_lost() {
    let Some(_machine) = crate::machine("moved") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut stage = crate::stage_on(StoreKind::Etcd, folder.path()).expect("the mesh comes up");
    moves(&mut stage).expect("traffic goes on through both moves");
}

fn moves(stage: &mut Stage) -> Result<()> {
    stage.bed.manifests("east")?.policy("demo", "echo", &policy::spec())?;
    stage.expect("intruder-a", "echo-b", false, false)?;
    let mut flows = Vec::new();
    for (port, from, to, ipv6) in
        [(9401, "client-a", "echo-b", false), (9402, "client-a", "echo-b", true), (9404, "client-a", "echo-w", false)]
    {
        stage.expect(from, to, ipv6, true)?;
        flows.push(Flow::start(from, stage.pod(from)?, stage.pod(to)?, ipv6, port, 100)?);
    }
    let forbidden = Flow::start("intruder-a", stage.pod("intruder-a")?, stage.pod("echo-b")?, false, 9403, 100)?;
    let identity = stage.identity_in_etcd("echo-b", false)?;
    let binaries = stage.bed.binaries.clone();
    for (kind, pod) in [(StoreKind::Embedded, "moved-a"), (StoreKind::Etcd, "moved-b")] {
        let (store, ledger) = stage.bed.store("east")?;
        store.migrate(kind, &binaries, ledger).with_context(|| format!("move to {kind}"))?;
        ensure!(store.kind() == kind, "it is {} still", store.kind());
        let kept = stage.identity_in_etcd("echo-b", false)?;
        ensure!(kept == identity, "the identity of echo-b was {identity}, and is {kept} after the move to {kind}");
        // What is new is written to the new store, and reaches the other cluster's agents from there.
        stage
            .bed
            .add_pod("east", 0, PodSpec::new("demo", pod, "moved"))
            .map(drop)
            .with_context(|| format!("add {pod}"))?;
        let server = Server::start(stage.pod(pod)?)?;
        stage.servers.insert(pod.to_owned(), server);
        wait_until("the new pod is in the new store", SETTLE, || stage.identity_in_etcd(pod, false).map(|_| ()))?;
        stage.expect("client-w", pod, false, true).with_context(|| format!("reach {pod} after the move to {kind}"))?;
    }
    std::thread::sleep(Duration::from_millis(300));
    for flow in flows {
        flow.stop()?.check_all_delivered()?;
    }
    forbidden.stop()?.check_none_delivered()
}
