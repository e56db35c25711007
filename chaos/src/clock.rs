//! The clock of processes, scaled and made to jump: they run as `causeway-next` meanwhile, the build that can.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use testbed::{Bed, Process};

use crate::run::Run;

/// Only that build knows it.
const FLAG: &str = "--chaos-clock";

/// A clock that several processes obey.
pub(crate) struct Clock {
    file: PathBuf,
}

// === impl Clock ===

impl Clock {
    /// The operator and the agents of these clusters obey one clock, which goes as the machine's at first.
    pub(crate) fn of(run: &mut Run, clusters: &[&str]) -> Result<Self> {
        let clock = Self { file: run.stage.bed.plan.dir.join("clock") };
        clock.set("")?;
        let next = run.stage.bed.binaries.causeway.with_file_name("causeway-next");
        ensure!(next.exists(), "there is no {}: `cargo xtask demo` builds it", next.display());
        let flag = format!("{FLAG}={}", clock.file.display());
        exchange(&mut run.stage.bed, |cluster, words| {
            let obeys = words.iter().any(|word| word.starts_with(FLAG));
            (clusters.contains(&cluster) && !obeys)
                .then(|| [&[next.display().to_string()], &words[1..], std::slice::from_ref(&flag)].concat())
        })?;
        Ok(clock)
    }

    /// In words: `scale=360 ahead=3600 wall=-3600`.
    pub(crate) fn set(&self, words: &str) -> Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, words).with_context(|| format!("write {}", new.display()))?;
        fs::rename(&new, &self.file).with_context(|| format!("write {}", self.file.display()))
    }
}

/// Every process is one of the binary under test again, with the machine's clock.
pub(crate) fn of_the_machine(bed: &mut Bed) -> Result<()> {
    let ours = bed.binaries.causeway.display().to_string();
    exchange(bed, |_, words| {
        let plain: Vec<String> = std::iter::once(ours.clone())
            .chain(words[1..].iter().filter(|word| !word.starts_with(FLAG)).cloned())
            .collect();
        (plain != words).then_some(plain)
    })
}

/// Ends operators and agents that get other words, starts them, and waits until they are ready: all at once.
fn exchange(bed: &mut Bed, other: impl Fn(&str, &[String]) -> Option<Vec<String>>) -> Result<()> {
    let mut agents = Vec::new();
    for cluster in bed.plan.clusters.clone() {
        if let Some(operator) = bed.operators.get_mut(&cluster.name)
            && let Some(words) = other(&cluster.name, operator.words())
        {
            operator.stop()?;
            bed.restart_as(|parts| parts.operators.get_mut(&cluster.name), words)?;
        }
        for node in &cluster.nodes {
            let Some(agent) = bed.agents.get(&node.name) else { continue };
            if let Some(words) = other(&cluster.name, agent.words()) {
                agents.push((node.clone(), words));
            }
        }
    }
    let stop = |agent: &mut Process| -> Result<()> {
        agent.resume()?;
        agent.stop()
    };
    for (node, words) in &agents {
        bed.agents.get_mut(&node.name).map(stop).transpose()?;
        bed.restart_agent_as(&node.name, words.clone())?;
    }
    agents.iter().try_for_each(|(node, _)| bed.wait_ready(node))
}
