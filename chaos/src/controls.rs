//! The rules and services that the probes need, and the positive controls around them: every forbidden path delivers
//! without the rules. A path that is dead anyway proves nothing.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use testbed::demo::Stage;
use testbed::demo::service::{EAST, WEST};
use testbed::flow::Flow;

use crate::paths::{self, Path, SERVICE};
use crate::probes::RATE;

/// The name of the rules, in both clusters.
const POLICY: &str = "chaos";
/// The name of the service.
const PROBED: &str = "probed";
/// How long a control sends.
const BURST: Duration = Duration::from_millis(100);
const GLOBAL: (&str, &str) = ("service.cilium.io/global", "true");

/// Services for every path and a global one for the oracle; rules; and the controls between. Twice is as once.
pub(crate) fn set_up(stage: &mut Stage) -> Result<String> {
    for cluster in ["east", "west"] {
        stage.bed.manifests(cluster)?.remove_policy("demo", POLICY)?;
    }
    let ports: Vec<Value> = paths::all()
        .iter()
        .map(|path| (path.port, "UDP"))
        .chain(paths::streams().iter().map(|path| (path.port, "TCP")))
        .map(|(port, protocol)| json!({"name": format!("p{port}"), "port": port, "targetPort": port, "protocol": protocol}))
        .collect();
    let ips = SERVICE.map(str::to_owned);
    stage.bed.manifests("east")?.service_with_ports("demo", PROBED, "echo", &ips, &[], &ports)?;
    stage.bed.note_service("east", PROBED, &ips);
    stage.bed.add_service("east", "web", "web", &EAST.map(str::to_owned), &[GLOBAL])?;
    stage.bed.add_service("west", "web", "web", &WEST.map(str::to_owned), &[GLOBAL])?;
    stage.bed.save()?;
    let delivered = deliver_without_rules(stage).context("control, before the rules")?;
    for cluster in ["east", "west"] {
        stage.bed.manifests(cluster)?.policy("demo", POLICY, &rules())?;
    }
    testbed::wait_until("the rules are in force", testbed::demo::SETTLE, || {
        let bursts = bursts(stage)?;
        let leaks: Vec<_> = bursts.iter().filter(|(_, delivered)| *delivered > 0).collect();
        anyhow::ensure!(leaks.is_empty(), "delivered: {leaks:?}");
        Ok(())
    })?;
    Ok(format!("{delivered} forbidden paths deliver without the rules and not under them"))
}

/// The controls once more, after everything, and the rules go.
pub(crate) fn take_away(stage: &mut Stage) -> Result<String> {
    for cluster in ["east", "west"] {
        stage.bed.manifests(cluster)?.remove_policy("demo", POLICY)?;
    }
    let delivered = deliver_without_rules(stage).context("control, after the rules")?;
    Ok(format!("{delivered} forbidden paths deliver again without the rules"))
}

fn rules() -> Value {
    let peers = json!({"matchExpressions": [
        {"key": "app", "operator": "In", "values": ["client", "echo"]},
        {"key": "io.cilium.k8s.policy.cluster", "operator": "Exists"},
    ]});
    json!({
        "endpointSelector": {"matchExpressions": [
            {"key": "app", "operator": "In", "values": ["client", "echo", "web"]},
        ]},
        "ingress": [{"fromEndpoints": [peers]}],
    })
}

fn forbidden() -> impl Iterator<Item = Path> {
    paths::all().into_iter().filter(|path| !path.allowed)
}

fn deliver_without_rules(stage: &Stage) -> Result<usize> {
    testbed::wait_until("every forbidden path delivers without the rules", testbed::demo::SETTLE, || {
        let bursts = bursts(stage)?;
        let dead: Vec<_> = bursts.iter().filter(|(_, delivered)| *delivered == 0).collect();
        anyhow::ensure!(dead.is_empty(), "nothing arrives: {dead:?}");
        Ok(bursts.len())
    })
}

/// How many datagrams of a short burst arrive on each forbidden path, all at once.
fn bursts(stage: &Stage) -> Result<Vec<(String, usize)>> {
    let burst = |path: Path| -> Result<(String, usize)> {
        let (from, to) = (stage.pod(path.from)?, stage.pod(path.to)?);
        let flow = Flow::through(&path.name(), from, to, path.target(stage)?, RATE)?;
        std::thread::sleep(BURST);
        Ok((path.name(), flow.stop()?.received.len()))
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = forbidden().map(|path| scope.spawn(move || burst(path))).collect();
        running.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a burst died"))?).collect()
    })
}
