//! The mesh under `causeway chaos`, as an operator runs it: each scenario's line is one of the demo's.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::Stage;

/// What a short demo breaks.
const SHORT: [&str; 9] = [
    "agent-killed",
    "agent-without-store",
    "agent-upgraded",
    "machine-restarted",
    "operator-killed",
    "leases-revoked",
    "mesh-cut",
    "remote-store-wiped",
    "cluster-removed",
];

/// Breaks and mends; true when everything held. `dir` is where the demo's files lie.
///
/// # Errors
///
/// When the command cannot be run.
pub fn run(stage: &mut Stage, dir: &Path, long: bool, print: &mut impl FnMut(&str)) -> Result<bool> {
    stage.bed.share(dir)?;
    let scenarios = if long { &["all"][..] } else { &SHORT[..] };
    let mut child = Command::new(&stage.bed.binaries.causeway)
        .args(["chaos", "run", "--demo-dir"])
        .arg(dir)
        .args(scenarios)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start causeway chaos")?;
    let output = child.stdout.take().context("its output is a pipe")?;
    for line in BufReader::new(output).lines() {
        print(&format!("chaos: {}", line.context("read what causeway chaos prints")?));
    }
    let status = child.wait().context("wait for causeway chaos")?;
    stage.bed.reload(dir)?;
    Ok(status.success())
}
