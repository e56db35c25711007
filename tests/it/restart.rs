//! What outlives a process: traffic goes on through an agent's death and its next start, and a queued delete is carried
//! out.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::demo::{SETTLE, Stage, policy};
use testbed::flow::Flow;
use testbed::wait_until;

#[test]
fn agents_die_and_come_back_without_a_packet_lost_or_let_through() {
    let Some(_machine) = crate::machine("restart") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut stage = crate::stage(folder.path()).expect("the mesh comes up");
    restarts(&mut stage).expect("traffic goes on through restarts");
    delete_without_agent(&mut stage).expect("a delete without an agent is carried out at its start");
    start_without_store(&mut stage).expect("an agent starts without etcd");
}

fn restarts(stage: &mut Stage) -> Result<()> {
    stage.bed.manifests("east")?.policy("demo", "echo", &policy::spec())?;
    stage.expect("intruder-a", "echo-b", false, false)?;
    let mut flows = Vec::new();
    for (port, from, ipv6) in [(9301, "client-a", false), (9302, "client-a", true)] {
        stage.expect(from, "echo-b", ipv6, true)?;
        flows.push(Flow::start(from, stage.pod(from)?, stage.pod("echo-b")?, ipv6, port, 100)?);
    }
    let forbidden = Flow::start("intruder-a", stage.pod("intruder-a")?, stage.pod("echo-b")?, false, 9303, 100)?;
    let before = stage.identity_in_etcd("echo-b", false)?;
    for name in ["east-2", "east-1", "east-2"] {
        let node = stage.bed.node(name)?.clone();
        let cluster = stage.bed.cluster("east")?.clone();
        stage.bed.agents.get_mut(name).context("the node has an agent")?.kill()?;
        std::thread::sleep(Duration::from_millis(300));
        stage.bed.start_agent(&cluster, &node)?;
        stage.bed.wait_ready(&node)?;
        let endpoints = stage.bed.causeway(&node, &["endpoint", "list"])?;
        ensure!(endpoints.contains("app="), "endpoints are not restored: {endpoints}");
        let mode = std::fs::metadata(&node.socket)?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "the local API's socket has mode {mode:o}");
    }
    std::thread::sleep(Duration::from_millis(300));
    for flow in flows {
        flow.stop()?.check_all_delivered()?;
    }
    forbidden.stop()?.check_none_delivered()?;
    let after = stage.identity_in_etcd("echo-b", false)?;
    ensure!(before == after, "the identity changed with a restart: {before}, then {after}");
    stage.bed.manifests("east")?.remove_policy("demo", "echo")?;
    stage.expect("intruder-a", "echo-b", false, true).context("control, after the policy")
}

fn delete_without_agent(stage: &mut Stage) -> Result<()> {
    let node = stage.bed.node("east-2")?.clone();
    let cluster = stage.bed.cluster("east")?.clone();
    let ip = stage.pod("web-c")?.ipv4;
    stage.bed.agents.get_mut("east-2").context("the node has an agent")?.kill()?;
    stage.bed.remove_pod("web-c").context("DEL without an agent succeeds")?;
    stage.bed.start_agent(&cluster, &node)?;
    stage.bed.wait_ready(&node)?;
    let endpoints = stage.bed.causeway(&node, &["endpoint", "list"])?;
    ensure!(!endpoints.contains(&ip.to_string()), "the deleted pod came back: {endpoints}");
    wait_until("the kernel forgets the pod", SETTLE, || {
        let rows = stage.bed.causeway(&node, &["bpf", "endpoint", "list"])?;
        ensure!(!rows.contains(&ip.to_string()), "{rows}");
        Ok(())
    })
}

fn start_without_store(stage: &mut Stage) -> Result<()> {
    let node = stage.bed.node("east-1")?.clone();
    let cluster = stage.bed.cluster("east")?.clone();
    stage.bed.store("east")?.0.process.kill()?;
    stage.bed.agents.get_mut("east-1").context("the node has an agent")?.kill()?;
    let flow = Flow::start("client-a", stage.pod("client-a")?, stage.pod("echo-b")?, false, 9304, 100)?;
    stage.bed.start_agent(&cluster, &node)?;
    wait_until("the agent answers without etcd", SETTLE, || {
        let status = stage.bed.causeway(&node, &["status"]).err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(status.contains("KVStore:       Failure"), "{status}");
        Ok(())
    })?;
    for (to, ipv6) in [("echo-b", false), ("echo-b", true), ("echo-w", false)] {
        stage.expect("client-a", to, ipv6, true).context("forwarding from what is on disk and in the kernel")?;
    }
    std::thread::sleep(Duration::from_secs(2));
    flow.stop()?.check_all_delivered()?;
    let (store, ledger) = stage.bed.store("east")?;
    store.restart(ledger)?;
    stage.bed.wait_ready(&node)?;
    wait_until("the agent is well again", SETTLE, || stage.bed.causeway(&node, &["status", "--brief"]).map(|_| ()))
}
