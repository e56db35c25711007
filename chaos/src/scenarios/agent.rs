//! Agents that die, stop, stand still, or start without their store.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testbed::PodSpec;

use crate::churn::Churn;
use crate::run::Run;

/// How the names of pods end that take another's address.
pub(crate) const TAKER: &str = "-taker";
/// The rule that is made while there is no store.
pub(crate) const COLD_POLICY: &str = "cold";
/// How often agents are killed, shortened and in full.
const KILLS: (u64, u64) = (12, 100);
/// How long an agent is away, likewise.
const AWAY: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(60));
/// Within which a cold agent forwards and enforces.
const COLD: Duration = Duration::from_secs(10);

/// Kill -9 and start again, agents in turn, while labels and rules change.
pub(crate) fn killed(run: &mut Run) -> Result<()> {
    let churn = Churn::start(&run.stage)?;
    let nodes: Vec<String> = run.stage.bed.agents.keys().cloned().collect();
    let kills = run.count(KILLS.0, KILLS.1, "kills");
    for (round, node) in (0..kills).zip(nodes.iter().cycle()) {
        let pid = run.agent(node)?.pid();
        run.inject(format!("kill -9 agent of {node} ({})", round + 1));
        run.agent(node)?.kill()?;
        run.start_agent(node)?;
        let now = run.agent(node)?.pid();
        ensure!(now != pid, "the agent of {node} still has pid {pid}");
        run.evidence(format!("pid {pid} is gone, {now} is ready"));
    }
    let changes = churn.stop()?;
    ensure!(changes > 100, "only {changes} changes went on beside the kills");
    run.evidence(format!("{changes} changes of labels and rules went on beside"));
    run.heal("changes end");
    Ok(())
}

/// One agent is ended for a minute and one stands still, while pods come and go in the other cluster and their own.
pub(crate) fn stopped(run: &mut Run) -> Result<()> {
    run.inject("agent of east-2 ends, agent of west-1 stands still");
    run.agent("east-2")?.stop()?;
    run.agent("west-1")?.pause()?;
    let away = Instant::now();
    ensure!(!run.agent("east-2")?.is_alive(), "the agent of east-2 still runs");
    run.evidence("the one is gone, the kernel calls the other stopped");
    // A pod of each other node gets another label, then another address.
    for (cluster, node, pod) in [("west", 1, "web-x"), ("east", 0, "client-late")] {
        if run.stage.bed.pods.contains_key(pod) {
            run.stage.bed.remove_pod(pod)?;
        }
        let before = run.stage.bed.pods.len();
        // Another pod takes the address first, so that the old one means somebody else.
        let taker = format!("{pod}{TAKER}");
        run.stage.bed.add_pod(cluster, node, PodSpec::new("demo", &taker, "intruder"))?;
        let app = if pod == "web-x" { "web" } else { "client" };
        run.stage.bed.add_pod(cluster, node, PodSpec::new("demo", pod, app))?;
        ensure!(run.stage.bed.pods.len() == before + 2, "two pods joined");
    }
    run.evidence("in both clusters pods left, and their addresses went to others");
    let full = run.time(AWAY.0, AWAY.1);
    std::thread::sleep(full.saturating_sub(away.elapsed()));
    run.agent("west-1")?.resume()?;
    run.start_agent("east-2")?;
    run.heal(format!("both are back after {:.0} s", away.elapsed().as_secs_f64()));
    for pod in ["web-x", "client-late"] {
        run.stage.bed.remove_pod(&format!("{pod}{TAKER}"))?;
    }
    run.stage.bed.remove_pod("client-late")?;
    run.stage.bed.serve("web-x")?;
    run.heal("the pods that joined for this leave");
    Ok(())
}

/// Etcd is down; an agent is killed and starts from disk. It forwards, enforces, and follows a rule.
pub(crate) fn without_store(run: &mut Run) -> Result<()> {
    let store = run.stage.bed.cluster("east")?.store_ip;
    run.inject("etcd of east is killed, then the agent of east-1");
    run.stage.bed.store("east")?.0.process.kill()?;
    run.evidence(run.refused("east-1", store)?);
    run.agent("east-1")?.kill()?;
    let started = Instant::now();
    run.stage.bed.restart(|parts| parts.agents.get_mut("east-1"))?;
    let node = run.node("east-1")?;
    testbed::wait_until("the agent answers without etcd", COLD, || {
        let complaint = run.complaint("east-1")?;
        ensure!(complaint.contains("KVStore") && complaint.contains("Failure"), "{complaint}");
        Ok(())
    })?;
    let endpoints = run.stage.bed.causeway(&node, &["endpoint", "list"])?;
    ensure!(endpoints.contains("app=client") || endpoints.contains("client"), "no endpoint is restored: {endpoints}");
    for (from, to, ipv6) in [("client-a", "echo-b", false), ("client-a", "echo-b", true), ("client-a", "echo-w", false)]
    {
        run.stage.expect(from, to, ipv6, true).context("new connections from what is on disk")?;
    }
    run.stage.expect("intruder-a", "web-a", false, false).context("the rule holds from what is on disk")?;
    // Not only what the kernel still had: a rule made now must reach it.
    run.stage.expect("client-a", "web-b", false, true)?;
    let manifests = run.stage.bed.manifests("east")?;
    manifests.policy(
        "demo",
        COLD_POLICY,
        &json!({
            "endpointSelector": {"matchLabels": {"app": "client"}},
            "egress": [{"toEndpoints": [{"matchExpressions": [
                {"key": "app", "operator": "In", "values": ["web", "echo", "client"]},
                {"key": "io.cilium.k8s.policy.cluster", "operator": "Exists"},
            ]}]}],
        }),
    )?;
    run.stage.expect("client-a", "intruder-a", false, false).context("a rule made without etcd is enforced")?;
    ensure!(started.elapsed() < COLD, "that took {:.1} s", started.elapsed().as_secs_f64());
    run.holds(
        "a cold agent forwards and enforces without etcd",
        format!("{:.1} s after its start, a new rule included", started.elapsed().as_secs_f64()),
    );
    manifests.remove_policy("demo", COLD_POLICY)?;
    run.stage.expect("client-a", "intruder-a", false, true).context("control, after the rule")?;
    let (store, ledger) = run.stage.bed.store("east")?;
    store.restart(ledger)?;
    run.heal("etcd is back");
    run.stage.bed.wait_ready(&node)
}
