//! Proof 5: a policy by `io.cilium.k8s.policy.cluster` separates clusters.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Stage;

/// Pods `app=echo` take packets of one cluster's pods alone.
fn from_cluster(cluster: &str) -> Value {
    json!({
        "endpointSelector": {"matchLabels": {"app": "echo"}},
        "ingress": [{"fromEndpoints": [{"matchLabels": {"io.cilium.k8s.policy.cluster": cluster}}]}],
    })
}

/// First west alone, then east alone, then no policy.
///
/// # Errors
///
/// When the wrong cluster's pod is answered.
pub fn prove(stage: &mut Stage) -> Result<String> {
    let manifests = stage.bed.manifests("east")?;
    let both = |stage: &Stage, east: bool, west: bool| -> Result<()> {
        for ipv6 in [false, true] {
            stage.expect("client-a", "echo-b", ipv6, east)?;
            stage.expect("client-w", "echo-b", ipv6, west)?;
        }
        Ok(())
    };
    both(stage, true, true).context("control, before the policy")?;
    manifests.policy("demo", "by-cluster", &from_cluster("west"))?;
    both(stage, false, true).context("west alone is allowed")?;
    manifests.policy("demo", "by-cluster", &from_cluster("east"))?;
    both(stage, true, false).context("east alone is allowed")?;
    manifests.remove_policy("demo", "by-cluster")?;
    both(stage, true, true).context("control, after the policy")?;
    Ok("west alone, east alone, both; IPv4 and IPv6; a control before and after".to_owned())
}
