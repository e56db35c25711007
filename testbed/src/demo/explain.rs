//! Proof 8: it explains itself. What `status` and `policy explain` say is what traffic shows.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{SETTLE, Stage, policy};
use crate::{NodePlan, wait_until};

/// Every agent is well and says so; a verdict is explained with its rule, and traffic agrees.
///
/// # Errors
///
/// When an explanation is missing or wrong.
pub fn prove(stage: &mut Stage) -> Result<String> {
    let nodes: Vec<NodePlan> = stage.bed.plan.clusters.iter().flat_map(|cluster| cluster.nodes.clone()).collect();
    for node in &nodes {
        wait_until(&format!("{} is well", node.name), SETTLE, || stage.bed.causeway(node, &["status", "--brief"]))?;
    }
    stage.bed.manifests("east")?.policy("demo", "echo", &policy::spec())?;
    stage.expect("intruder-b", "echo-b", false, false)?;
    stage.expect("client-a", "echo-b", false, true)?;
    let node = stage.node_of("echo-b")?.clone();
    let denied = explain(stage, &node, "demo/intruder-b")?;
    let allowed = explain(stage, &node, "demo/client-a")?;
    ensure!(allowed["verdict"] == "allowed", "a pod that gets through is explained as {allowed:#}");
    ensure!(denied["verdict"] == "denied", "a pod that is kept out is explained as {denied:#}");
    for (name, told) in [("client-a", &allowed), ("intruder-b", &denied)] {
        ensure!(told["ingress"]["kernel"] == told["ingress"]["verdict"], "{name}: the kernel does otherwise: {told:#}");
    }
    let rule = allowed["ingress"]["decided-by"].to_string();
    ensure!(rule.contains("demo/echo") && rule.contains(".yaml:"), "the rule is not named by file and line: {rule}");
    let advice = denied["ingress"]["advice"].get(0).and_then(Value::as_str).context("nothing says what would help")?;
    let advice = advice.to_owned();
    let status = stage.bed.causeway(&node, &["status"])?;
    for part in ["KVStore:", "ClusterMesh:", "Controllers:", "BPF maps:", "Versions:"] {
        ensure!(status.contains(part), "status has no {part}: {status}");
    }
    stage.bed.manifests("east")?.remove_policy("demo", "echo")?;
    stage.expect("intruder-b", "echo-b", false, true).context("control, after the policy")?;
    let rule = rule.trim_matches(['[', ']', '"']).to_owned();
    Ok(format!("{} agents call themselves well; client-a allowed by {rule}; intruder-b denied: {advice}", nodes.len()))
}

/// `policy explain` of a connection to echo-b; a denial exits with failure and still prints.
fn explain(stage: &Stage, node: &NodePlan, from: &str) -> Result<Value> {
    let words = ["policy", "explain", from, "demo/echo-b", "8080/TCP", "-o", "json"];
    let text = stage.bed.causeway(node, &words).unwrap_or_else(|error| error.to_string());
    let Some(start) = text.find("[\n") else { bail!("policy explain prints {text}") };
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
    let value = values.next().context("policy explain prints nothing")??;
    value.get(0).cloned().context("policy explain explains nothing")
}
