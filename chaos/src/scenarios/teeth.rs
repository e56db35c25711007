//! The datapath itself is broken, so that every check has something to find. A check that finds nothing is broken.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::judge::Check;
use crate::run::Run;
use crate::{oracle, sabotage};

/// How long each thing stays broken.
const BROKEN: Duration = Duration::from_millis(300);

/// A stolen identity, a forgotten address, a broken connection: each must be noticed.
pub(crate) fn every_check_bites(run: &mut Run) -> Result<()> {
    let before = run.dumps()?;
    let untried = run.was_tried();

    // Who an address is goes: the kernel differs from the stores, and from before.
    let (node, echo) = (run.node("east-2")?, run.stage.pod("echo-b")?.ipv4);
    run.inject(format!("{echo} is removed from the ipcache of {}", node.name));
    let row = sabotage::forget_identity(&node.bpf_root, echo)?;
    let differs = oracle::check(&run.stage);
    let changed = run.as_before(&before);
    row.put_back()?;

    // Where it lives goes: allowed packets are lost.
    run.inject(format!("{echo} is removed from the endpoints of {}", node.name));
    let row = sabotage::forget_endpoint(&node.bpf_root, echo)?;
    std::thread::sleep(BROKEN);
    row.put_back()?;

    // A pod sends under another's identity: forbidden packets are delivered.
    let (node, intruder) = (run.node("east-1")?, run.stage.pod("intruder-a")?.ipv4);
    let client = run.stage.identity_in_etcd("client-a", false)?;
    run.inject("intruder-a sends as client-a");
    let own = sabotage::disguise(&node.bpf_root, intruder, client)?;
    std::thread::sleep(BROKEN);
    sabotage::disguise(&node.bpf_root, intruder, own)?;

    // A connection is broken off.
    run.inject("a server breaks its connection off");
    run.probes.break_a_stream()?;
    std::thread::sleep(BROKEN);

    let records = run.probes.stop(|_| true)?;
    run.records.records.extend(records);
    let mut checks = run.records.judge();
    checks.retain(|check| check.name != "probes ran");
    checks.push(untried);
    checks.push(Check::new("kernels equal the stores again", differs.map_err(|error| format!("{error:#}"))));
    checks.push(Check::new("every map is as before", changed.map_err(|error| format!("{error:#}"))));
    let blind: Vec<_> = checks.iter().filter(|check| check.passed).collect();
    ensure!(blind.is_empty(), "checks that noticed nothing: {blind:?}");
    for check in checks {
        run.holds(&format!("fails on a broken system: {}", check.name), check.detail);
    }
    run.heal("everything is put back");
    Ok(())
}
