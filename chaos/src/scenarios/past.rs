//! A store that has forgotten: what it held, or what lies between two revisions.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::demo::service::relabel;

use crate::run::Run;

/// What is broken.
const CLUSTER: &str = "east";
/// How often a store is written to until it is old enough.
const ATTEMPTS: usize = 5;
/// How long an agent hears nothing.
const DEAF: Duration = Duration::from_secs(5);

/// A snapshot is taken, things change, the snapshot becomes the store: the same cluster id, a lower revision.
pub(crate) fn restored(run: &mut Run) -> Result<()> {
    let binaries = run.stage.bed.binaries.clone();
    let file = run.stage.bed.plan.dir.join("before.snapshot");
    run.stage.bed.stores[CLUSTER].save(&binaries, &file)?;
    let old = header(run)?;
    // Labels that the snapshot does not know, and that nobody has in the end: their number must not be in doubt for long.
    let nobodys = format!("restored-{}", old.1);
    relabel(&run.stage, "web-c", &nobodys)?;
    testbed::wait_until("the store hears of the change", testbed::demo::SETTLE, || {
        ensure!(header(run)?.1 > old.1, "nothing was written");
        Ok(())
    })?;
    let before = header(run)?;
    run.inject(format!("the store of {CLUSTER} becomes what it was some changes ago"));
    // Nobody writes before we have looked.
    let east = run.stage.bed.cluster(CLUSTER)?.clone();
    run.stage.bed.network.set_store_silent(&east, true)?;
    let (store, ledger) = run.stage.bed.store(CLUSTER)?;
    store.process.kill()?;
    store.go_back(&binaries, &file)?;
    store.restart(ledger)?;
    forgotten(run, before)?;
    run.stage.bed.network.set_store_silent(&east, false)?;
    run.heal("the old store answers");
    run.converge("what the snapshot did not know is known again")?;
    relabel(&run.stage, "web-c", "web")?;
    run.heal("the change is taken back");
    std::fs::remove_file(&file).context("remove the snapshot")
}

/// It comes back empty under the same cluster id.
pub(crate) fn wiped(run: &mut Run) -> Result<()> {
    let before = header(run)?;
    run.inject(format!("the store of {CLUSTER} is killed and its data removed"));
    let (store, ledger) = run.stage.bed.store(CLUSTER)?;
    store.process.kill()?;
    store.wipe()?;
    store.restart(ledger)?;
    forgotten(run, before)?;
    run.heal("the empty store answers");
    Ok(())
}

/// It comes back empty, and when its clients see it again its revision is higher than they remember.
pub(crate) fn refilled(run: &mut Run) -> Result<()> {
    let binaries = run.stage.bed.binaries.clone();
    let east = run.stage.bed.cluster(CLUSTER)?.clone();
    let before = header(run)?;
    run.inject(format!("the store of {CLUSTER} is emptied and written past its old revision before anybody sees it"));
    run.stage.bed.network.set_silent(&east.store_port(), true)?;
    run.stage.bed.network.set_store_silent(&east, true)?;
    let (store, ledger) = run.stage.bed.store(CLUSTER)?;
    store.process.kill()?;
    store.wipe()?;
    store.restart(ledger)?;
    for _ in 0..ATTEMPTS {
        // A slow disk makes it give up early; what it wrote until then counts.
        run.stage.bed.stores[CLUSTER].age(&binaries).ok();
        if header(run)?.1 > before.1 {
            break;
        }
    }
    let after = header(run)?;
    ensure!(after.0 == before.0 && after.1 > before.1, "{before:?} before, {after:?} now");
    run.evidence(format!("the same cluster id; revision {} before, {} now", before.1, after.1));
    run.stage.bed.network.set_store_silent(&east, false)?;
    run.stage.bed.network.set_silent(&east.store_port(), false)?;
    run.heal("its clients see it again");
    Ok(())
}

/// An agent is deaf while things change, its connection is lost, and the changes that it missed are compacted away.
pub(crate) fn compacted(run: &mut Run) -> Result<()> {
    run.inject("the agent of east-1 stands still; its watches end and what they have not told is compacted");
    run.agent("east-1")?.pause()?;
    let before = header(run)?;
    for app in ["retired", "web", "retired"] {
        relabel(&run.stage, "web-c", app)?;
        std::thread::sleep(DEAF / 5);
    }
    let (store, ledger) = run.stage.bed.store(CLUSTER)?;
    store.process.kill()?;
    store.restart(ledger)?;
    std::thread::sleep(DEAF);
    let now = header(run)?;
    ensure!(now.1 > before.1 + 1, "revision {} after {}: nothing happened meanwhile", now.1, before.1);
    run.stage.bed.stores[CLUSTER].etcdctl(&["compact", &now.1.to_string()])?;
    let old = run.stage.bed.stores[CLUSTER].etcdctl(&["get", "none", "--rev", &before.1.to_string()]);
    ensure!(old.is_err_and(|error| format!("{error:#}").contains("compacted")), "revision {} is still there", before.1);
    run.evidence(format!("revisions {} to {} are compacted", before.1, now.1));
    run.agent("east-1")?.resume()?;
    run.heal("the agent goes on");
    run.converge("what was compacted is known")?;
    relabel(&run.stage, "web-c", "web")?;
    run.heal("the change is taken back");
    Ok(())
}

fn forgotten(run: &mut Run, before: (u64, u64)) -> Result<()> {
    let after = header(run)?;
    ensure!(after.0 == before.0, "the cluster id is another: the easier case");
    ensure!(after.1 < before.1, "revision {} is not below {}", after.1, before.1);
    run.evidence(format!("the same cluster id; revision {} before, {} now", before.1, after.1));
    Ok(())
}

/// Cluster id and revision of the store.
fn header(run: &Run) -> Result<(u64, u64)> {
    let store = &run.stage.bed.stores[CLUSTER];
    let answer: Value = serde_json::from_str(&store.etcdctl(&["get", "none", "--write-out=json"])?)?;
    let field = |name: &str| answer["header"][name].as_u64().with_context(|| format!("the header has no {name}"));
    Ok((field("cluster_id")?, field("revision")?))
}
