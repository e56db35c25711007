//! An agent that may ask its store for too little.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::demo::service::relabel;

use crate::run::Run;

/// Whose limit is low.
const NODE: &str = "east-2";
/// What requests take, waiting included.
const NAME: &str = "cilium_kvstore_operations_duration_seconds";
/// Requests a second.
const QPS: &str = "etcd.qps=2";
/// How often a pod of the node gets labels that nobody had: each takes an identity.
const CHANGES: u32 = 8;

/// Everything waits for the limit, and nothing else happens.
pub(crate) fn requests(run: &mut Run) -> Result<()> {
    let words = run.agent(NODE)?.words().to_vec();
    let low: Vec<String> = words.iter().map(|word| word.replace("etcd.qps=1000", QPS)).collect();
    ensure!(low != words, "the agent's flags have no limit to lower");
    run.inject(format!("the agent of {NODE} starts with {QPS}, and labels change"));
    run.become_agent(NODE, low)?;
    let before = spent(run)?;
    for change in 0..CHANGES {
        relabel(&run.stage, "web-c", &format!("limited-{change}"))?;
        std::thread::sleep(Duration::from_millis(700));
    }
    let after = spent(run)?;
    let mean = (after.0 - before.0) / (after.1 - before.1);
    ensure!(mean > 0.2, "a request took {:.0} ms: the limit does not bite", mean * 1e3);
    run.evidence(format!("{} requests took {:.0} ms each, waiting included", after.1 - before.1, mean * 1e3));
    run.said(NODE)?;
    relabel(&run.stage, "web-c", "web")?;
    run.become_agent(NODE, words)?;
    run.heal("it starts with its old limit");
    Ok(())
}

/// Seconds and number of the agent's requests to the store so far.
fn spent(run: &Run) -> Result<(f64, f64)> {
    let node = run.stage.bed.node(NODE)?;
    let listed = run.stage.bed.causeway(node, &["metrics", "list", "--match-pattern", NAME, "-o", "json"])?;
    let listed: Vec<Value> = serde_json::from_str(&listed).context("understand the agent's metrics")?;
    let sum = |what: &str| -> Result<f64> {
        let name = format!("{NAME}_{what}");
        let of: Vec<_> = listed.iter().filter(|metric| metric["name"] == name.as_str()).collect();
        ensure!(!of.is_empty(), "the agent has no metric {name}");
        of.iter().map(|metric| metric["value"].as_f64().with_context(|| format!("no number in {metric}"))).sum()
    };
    Ok((sum("sum")?, sum("count")?))
}
