//! Another version of the binary takes over the same pins, with one layout changed, and hands them back.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::run::Run;

/// Every agent becomes the next version, one after the other; then each goes back.
pub(crate) fn and_back(run: &mut Run) -> Result<()> {
    let current = run.stage.bed.binaries.causeway.clone();
    let next = current.with_file_name("causeway-next");
    ensure!(next.exists(), "there is no {}: `cargo xtask demo` builds it", next.display());
    for (name, binary, pin, other) in
        [("the next version", &next, "ct4_v2", "ct4_v1"), ("the version before", &current, "ct4_v1", "ct4_v2")]
    {
        let nodes: Vec<String> = run.stage.bed.agents.keys().cloned().collect();
        for node in nodes {
            let plan = run.node(&node)?;
            run.inject(format!("the agent of {node} becomes {name}"));
            let flows = flows(run, &node)?;
            become_binary(run, &node, binary)?;
            let maps = plan.bpf_root.join("maps");
            ensure!(maps.join(pin).exists(), "{pin} is not pinned in {}", maps.display());
            ensure!(!maps.join(other).exists(), "{other} is still pinned in {}", maps.display());
            let now = self::flows(run, &node)?;
            ensure!(now > 0 && now + 5 >= flows / 2, "{flows} tracked flows before, {now} after");
            run.evidence(format!("{pin} is pinned; {flows} tracked flows before, {now} after"));
        }
    }
    run.heal("every agent is of the version before");
    Ok(())
}

fn become_binary(run: &mut Run, node: &str, binary: &Path) -> Result<()> {
    let agent = run.agent(node)?;
    let mut words = agent.words().to_vec();
    *words.first_mut().context("a command line has a program")? = binary.display().to_string();
    agent.stop()?;
    run.stage.bed.restart_agent_as(node, words)?;
    let plan = run.node(node)?;
    run.stage.bed.wait_ready(&plan)
}

/// How many flows a node tracks.
fn flows(run: &Run, node: &str) -> Result<usize> {
    let plan = run.node(node)?;
    // The binary that the agent runs knows the layout of its maps.
    let words = run.stage.bed.agents[node].words();
    let binary = words.first().context("a command line has a program")?;
    let root = plan.bpf_root.display().to_string();
    let text = testbed::run(&plan.netns, &[binary, "bpf", "ct", "list", "-o", "json", "--bpf-root", &root])?;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).context("understand the flows")?;
    Ok(rows.len())
}
