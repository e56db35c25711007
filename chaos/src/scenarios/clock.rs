//! Clocks that jump.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::lease::lease_of;
use crate::clock::{self, Clock};
use crate::oracle;
use crate::run::Run;

/// Whose clocks.
const CLUSTER: &str = "east";
/// By how much, in seconds.
const HOUR: i64 = 3600;
/// How fast time goes between the jumps: leases are renewed, the heart beats.
const SCALE: u32 = 60;
/// How long it goes so after each, in real time: six minutes of scaled time.
const SETTLES: Duration = Duration::from_secs(6);

/// The wall's clock jumps ahead and back by an hour, then the one that everything waits by jumps ahead.
pub(crate) fn jumped(run: &mut Run) -> Result<()> {
    let clock = Clock::of(run, &[CLUSTER])?;
    run.evidence(format!("operator and agents of {CLUSTER} obey another clock"));
    clock.set(&format!("scale={SCALE}"))?;
    std::thread::sleep(SETTLES / 2);
    let (keys, leases) = (oracle::keys(&run.stage)?, leases(run)?);
    for (what, words, off) in [
        ("the wall's clock jumps ahead", format!("wall={HOUR}"), HOUR),
        ("the wall's clock jumps back", format!("wall=-{HOUR}"), -HOUR),
        ("the clock that waits jumps ahead", format!("ahead={HOUR}"), 0),
    ] {
        run.inject(format!("{what}: {words}"));
        clock.set(&format!("scale={SCALE} {words}"))?;
        std::thread::sleep(SETTLES);
        let shown = off_by(run)?;
        // Scaled time has made it go ahead by some minutes besides.
        ensure!((off..off + HOUR).contains(&shown), "the heart says {shown} s, not {off} s or a little more");
        run.evidence(format!("the heartbeat is off by {shown} s"));
        let now = oracle::keys(&run.stage)?;
        let lost: Vec<_> = keys.difference(&now).take(3).collect();
        ensure!(lost.is_empty(), "keys are gone: {lost:?}");
        let now = self::leases(run)?;
        ensure!(now == leases, "leases {leases:x?} before, {now:x?} after");
    }
    run.holds("every key and every lease is kept", format!("{} keys, leases {leases:x?}", keys.len()));
    clock.set("")?;
    clock::of_the_machine(&mut run.stage.bed)?;
    run.heal("operator and agents go by the machine's clock again");
    Ok(())
}

/// By how many seconds the heartbeat differs from the time.
fn off_by(run: &Run) -> Result<i64> {
    let text = run.stage.bed.stores[CLUSTER].etcdctl(&["get", "cilium/.heartbeat", "--print-value-only"])?;
    let said: jiff::Timestamp = text.trim().parse().with_context(|| format!("the heartbeat says {text:?}"))?;
    Ok(said.as_second() - jiff::Timestamp::now().as_second())
}

/// Of both nodes and of the heartbeat.
fn leases(run: &Run) -> Result<Vec<u64>> {
    let nodes = ["1", "2"].map(|number| format!("cilium/state/nodes/v1/{CLUSTER}/{CLUSTER}-{number}"));
    let keys = nodes.iter().map(String::as_str).chain(["cilium/.heartbeat"]);
    keys.map(|key| lease_of(run, CLUSTER, key).map(|(lease, _)| lease)).collect()
}
