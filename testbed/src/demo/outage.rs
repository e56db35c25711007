//! Proof 6: the store of east is killed for twenty seconds under traffic. Nothing changes; then work goes on without it.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::service::{EAST, relabel, wait_for_backends};
use super::{SETTLE, Stage, dump};
use crate::flow::Flow;
use crate::server::Server;
use crate::{PodSpec, wait_until};

/// How long nothing at all may change.
const STILL: Duration = Duration::from_secs(10);
/// How long the store is gone in all.
const OUTAGE: Duration = Duration::from_secs(20);
/// Datagrams a second of each probe.
const RATE: u32 = 100;

/// Kills, waits, works, heals.
///
/// # Errors
///
/// When a packet takes a path that it should not, a row goes without reason, or something does not converge.
pub fn prove(stage: &mut Stage) -> Result<String> {
    let manifests = stage.bed.manifests("east")?;
    manifests.policy(
        "demo",
        "outage",
        &json!({
            "endpointSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["echo", "client"]}]},
            "ingress": [{"fromEndpoints": [
                {"matchExpressions": [{"key": "app", "operator": "In", "values": ["echo", "client"]},
                                      {"key": "io.cilium.k8s.policy.cluster", "operator": "Exists"}]},
            ]}],
        }),
    )?;
    stage.expect("intruder-a", "echo-b", false, false)?;
    stage.expect("intruder-b", "client-a", false, false)?;
    let mut allowed = Vec::new();
    for (port, from, to, ipv6) in [
        (9101, "client-a", "echo-b", false),
        (9102, "echo-b", "client-a", false),
        (9103, "client-a", "echo-b", true),
        (9104, "client-a", "echo-w", false),
        (9105, "client-w", "echo-b", false),
    ] {
        stage.expect(from, to, ipv6, true)?;
        allowed.push(flow(stage, from, to, ipv6, port)?);
    }
    let mut forbidden = Vec::new();
    for (port, from, to, ipv6) in [
        (9111, "intruder-a", "echo-b", false),
        (9112, "intruder-b", "client-a", false),
        (9113, "intruder-a", "echo-b", true),
    ] {
        forbidden.push(flow(stage, from, to, ipv6, port)?);
    }
    std::thread::sleep(Duration::from_millis(500));
    let before = dumps(stage)?;
    let endpoint: SocketAddr = format!("{}:2379", stage.bed.cluster("east")?.store_ip).parse()?;
    stage.bed.store("east")?.0.process.kill()?;
    let killed = Instant::now();
    let refused = refused(stage, endpoint)?;

    std::thread::sleep(STILL.saturating_sub(killed.elapsed()));
    let still = dumps(stage)?;
    let gone: Vec<_> = before.difference(&still).collect();
    ensure!(gone.is_empty(), "rows went within {} s of the loss: {gone:?}", STILL.as_secs());
    let worked = work_without_store(stage)?;
    let status = stage.bed.causeway(stage.node_of("client-a")?, &["status"]);
    let status = status.err().map(|error| error.to_string()).context("a degraded agent exits with success")?;
    ensure!(status.contains("etcd") && status.contains("Failure"), "status does not name etcd: {status}");
    let cause = status.lines().find(|line| line.starts_with("KVStore")).unwrap_or_default().to_owned();
    let after = dumps(stage)?;
    explain(stage, &before, &after)?;
    std::thread::sleep(OUTAGE.saturating_sub(killed.elapsed()));

    let (store, ledger) = stage.bed.store("east")?;
    store.restart(ledger)?;
    let healed = Instant::now();
    converge(stage)?;
    let converged = healed.elapsed();
    let mut sent = [0, 0];
    for flow in allowed {
        let report = flow.stop()?;
        report.check_all_delivered()?;
        sent[0] += report.sent.len();
    }
    for flow in forbidden {
        let report = flow.stop()?;
        report.check_none_delivered()?;
        sent[1] += report.sent.len();
    }
    // The control of the forbidden flows: the same sender, receiver and port deliver once the rule is gone.
    manifests.remove_policy("demo", "outage")?;
    for (from, to, ipv6) in
        [("intruder-a", "echo-b", false), ("intruder-b", "client-a", false), ("intruder-a", "echo-b", true)]
    {
        stage.expect(from, to, ipv6, true).context("control, after the policy")?;
        let control = flow(stage, from, to, ipv6, 9121)?;
        std::thread::sleep(Duration::from_millis(500));
        control.stop()?.check_all_delivered().context("control, after the policy")?;
    }
    Ok(format!(
        "{refused}; 0 of {} allowed lost, 0 of {} forbidden delivered; {} rows unchanged for {} s; without it: {worked}; \
         {}; converged {:.1} s after it came back",
        sent[0],
        sent[1],
        before.len(),
        STILL.as_secs(),
        cause.split_whitespace().collect::<Vec<_>>().join(" "),
        converged.as_secs_f64(),
    ))
}

fn flow(stage: &Stage, from: &str, to: &str, ipv6: bool, port: u16) -> Result<Flow> {
    let name = format!("{from} to {to} IPv{}", if ipv6 { 6 } else { 4 });
    Flow::start(&name, stage.pod(from)?, stage.pod(to)?, ipv6, port, RATE)
}

/// Every row of both nodes of east, with the node's name in front.
fn dumps(stage: &Stage) -> Result<BTreeSet<String>> {
    let mut rows = BTreeSet::new();
    for node in &stage.bed.cluster("east")?.nodes {
        rows.extend(dump::all(&stage.bed, node)?.into_iter().map(|row| format!("{} {row}", node.name)));
    }
    Ok(rows)
}

/// Proves from a node of east that nobody listens at the store's address any more.
fn refused(stage: &Stage, endpoint: SocketAddr) -> Result<String> {
    let netns = netlink::Namespace::open(&stage.node_of("client-a")?.netns)?;
    let answer = netns.enter(|| TcpStream::connect_timeout(&endpoint, Duration::from_secs(1)))?;
    match answer {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(format!("{endpoint} refused")),
        other => bail!("etcd is killed, and a connection to {endpoint} ends with {other:?}"),
    }
}

/// A pod joins, a policy changes, and a backend of west changes.
fn work_without_store(stage: &mut Stage) -> Result<String> {
    // Its labels are those of client-a, on the same node: the identity is held there.
    let joined = Instant::now();
    stage.bed.add_pod("east", 0, PodSpec::new("demo", "client-late", "client"))?;
    let server = Server::start(stage.pod("client-late")?)?;
    stage.servers.insert("client-late".to_owned(), server);
    stage.expect("client-a", "client-late", false, true).context("the new pod is reached on its node")?;
    let joined = joined.elapsed();

    let manifests = stage.bed.manifests("east")?;
    let changed = Instant::now();
    stage.expect("client-a", "web-a", false, true).context("control, before the rule")?;
    manifests.policy(
        "demo",
        "outage-web",
        &json!({
            "endpointSelector": {"matchLabels": {"app": "web"}},
            "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "nobody"}}]}],
        }),
    )?;
    stage.expect("client-a", "web-a", false, false).context("a rule made without etcd is enforced")?;
    manifests.remove_policy("demo", "outage-web")?;
    stage.expect("client-a", "web-a", false, true).context("control, after the rule")?;
    let changed = changed.elapsed();

    let moved = Instant::now();
    relabel(stage, "web-x", "retired")?;
    wait_for_backends(stage, "client-a", EAST[0], &["web-a", "web-b", "web-c", "web-w"])?;
    let moved = moved.elapsed();
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let (joined, changed, moved) = (seconds(joined), seconds(changed), seconds(moved));
    Ok(format!("a pod joined in {joined}, a rule took effect and went in {changed}, a backend of west went in {moved}"))
}

/// Every row that went belongs to something that was changed: the service whose backend went, or the pod of west that
/// was relabelled.
fn explain(stage: &Stage, before: &BTreeSet<String>, after: &BTreeSet<String>) -> Result<()> {
    let web_x = stage.pod("web-x")?;
    let (ipv4, ipv6) = (format!(" {}/", web_x.ipv4), format!(" {}/", web_x.ipv6));
    let explained = |row: &&String| {
        let service = row.contains(" lb ") && EAST.iter().any(|ip| row.contains(ip));
        // Its identity changed: the old row of its address is another one now.
        service || row.contains(&ipv4) || row.contains(&ipv6)
    };
    let unexplained: Vec<_> = before.difference(after).filter(|row| !explained(row)).collect();
    ensure!(unexplained.is_empty(), "rows went without reason: {unexplained:?}");
    Ok(())
}

/// The pod that joined is known everywhere, west's backend is back, and every agent is well.
fn converge(stage: &mut Stage) -> Result<()> {
    relabel(stage, "web-x", "web")?;
    stage.expect("echo-b", "client-late", false, true).context("the pod that joined is reached from another node")?;
    stage.expect("echo-w", "client-late", true, true).context("and from the other cluster")?;
    wait_for_backends(stage, "client-a", EAST[0], &["web-a", "web-b", "web-c", "web-w", "web-x"])?;
    let identity = wait_until("etcd has the pod that joined", SETTLE, || stage.identity_in_etcd("client-late", false))?;
    let late = format!("{}/32 {identity} ", stage.pod("client-late")?.ipv4);
    for node in stage.bed.plan.clusters.clone().into_iter().flat_map(|cluster| cluster.nodes) {
        wait_until(&format!("the kernel of {} knows the pod that joined", node.name), SETTLE, || {
            let rows = dump::rows(&stage.bed, &node, "ipcache")?;
            ensure!(rows.iter().any(|row| row.starts_with(&late)), "no row starts with {late}");
            Ok(())
        })?;
    }
    for node in stage.bed.plan.clusters.clone().into_iter().flat_map(|cluster| cluster.nodes) {
        wait_until(&format!("{} is well", node.name), SETTLE * 3, || {
            stage.bed.causeway(&node, &["status", "--brief"])
        })?;
    }
    Ok(())
}
