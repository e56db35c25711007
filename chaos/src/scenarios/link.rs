//! The link of a cluster's own store: silent, half open, and coming and going.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::ClusterPlan;

use crate::run::Run;

/// How long it is silent, shortened and in full: longer than a client's patience with a silent connection.
const SILENT: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(50));
/// How often it comes and goes, shortened and in full, and how long each time.
const FLAPS: (u64, u64) = (4, 8);
const FLAP: Duration = Duration::from_millis(1500);

/// Nothing goes in either direction, and nobody is told.
pub(crate) fn blackholed(run: &mut Run) -> Result<()> {
    let east = run.stage.bed.cluster("east")?.clone();
    run.inject("whatever goes to or comes from the store of east is dropped without a sign");
    silence(run, &east, true)?;
    let since = Instant::now();
    run.store_is_missed("east-1", SILENT.1)?;
    let full = run.time(SILENT.0, SILENT.1);
    std::thread::sleep(full.saturating_sub(since.elapsed()));
    let dropped = dropped(run, &east)?;
    ensure!(dropped > 0, "nothing was dropped");
    run.evidence(format!("{dropped} packets were dropped"));
    silence(run, &east, false)?;
    run.heal("the link is whole");
    Ok(())
}

/// The store dies unheard and starts again: its clients hold connections that it knows nothing of.
pub(crate) fn half_open(run: &mut Run) -> Result<()> {
    let east = run.stage.bed.cluster("east")?.clone();
    run.inject("the store of east is killed and started while its link is silent");
    silence(run, &east, true)?;
    let (store, ledger) = run.stage.bed.store("east")?;
    let before = store.process.pid();
    store.process.kill()?;
    store.restart(ledger)?;
    let now = store.process.pid();
    ensure!(now != before, "it still has pid {before}");
    std::thread::sleep(Duration::from_secs(2));
    let dropped = dropped(run, &east)?;
    ensure!(dropped > 0, "nothing was dropped");
    run.evidence(format!("pid {before} is gone and {now} answers; nobody heard: {dropped} packets were dropped"));
    silence(run, &east, false)?;
    run.heal("the link is whole");
    Ok(())
}

/// Silent and whole in turns.
pub(crate) fn flapping(run: &mut Run) -> Result<()> {
    let east = run.stage.bed.cluster("east")?.clone();
    let flaps = run.count(FLAPS.0, FLAPS.1, "silences");
    run.inject(format!("the link of east's store is silent {flaps} times for {:.1} s", FLAP.as_secs_f64()));
    let mut count = 0;
    for _ in 0..flaps {
        silence(run, &east, true)?;
        std::thread::sleep(FLAP);
        count += dropped(run, &east)?;
        silence(run, &east, false)?;
        std::thread::sleep(FLAP);
    }
    ensure!(count > 0, "nothing was dropped");
    run.evidence(format!("{count} packets were dropped"));
    run.said("east-1")?;
    run.heal("the link stays whole");
    Ok(())
}

fn silence(run: &Run, cluster: &ClusterPlan, silent: bool) -> Result<()> {
    run.stage.bed.network.set_silent(&cluster.store_port(), silent)?;
    run.stage.bed.network.set_store_silent(cluster, silent)
}

fn dropped(run: &Run, cluster: &ClusterPlan) -> Result<u64> {
    let to = run.stage.bed.network.dropped(&cluster.store_port())?.context("the store's port is not silent")?;
    let from = run.stage.bed.network.store_dropped(cluster)?.context("the store is not silent")?;
    Ok(to + from)
}
