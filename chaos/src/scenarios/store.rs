//! A cluster's own store: dead, standing still, and slow.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::run::Run;

/// How long the store is away.
const AWAY: Duration = Duration::from_secs(10);
/// How long it stands still, shortened and in full: longer than a client's patience with a silent connection.
const STILL: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(45));
/// How long it is slow, likewise.
const SLOW: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(30));
/// How long a request waits then.
const LATE: Duration = Duration::from_secs(2);
/// How long a slow store works between two waits.
const AWAKE: Duration = Duration::from_millis(50);

/// Kill -9, ten seconds without it, start again.
pub(crate) fn killed(run: &mut Run) -> Result<()> {
    let ip = run.stage.bed.cluster("east")?.store_ip;
    run.inject("the store of east is killed");
    run.stage.bed.store("east")?.0.process.kill()?;
    run.evidence(run.refused("east-1", ip)?);
    std::thread::sleep(AWAY);
    run.store_is_missed("east-1", Duration::ZERO)?;
    let (store, ledger) = run.stage.bed.store("east")?;
    store.restart(ledger)?;
    run.heal("the store is back");
    Ok(())
}

/// Its connections stay open, and nothing is answered.
pub(crate) fn paused(run: &mut Run) -> Result<()> {
    run.inject("the store of east stands still");
    run.stage.bed.store("east")?.0.process.pause()?;
    let since = Instant::now();
    run.evidence("the kernel calls it stopped");
    run.store_is_missed("east-1", STILL.1)?;
    let full = run.time(STILL.0, STILL.1);
    std::thread::sleep(full.saturating_sub(since.elapsed()));
    run.stage.bed.store("east")?.0.process.resume()?;
    run.heal("the store goes on");
    Ok(())
}

/// It answers what has come once in two seconds.
pub(crate) fn slow(run: &mut Run) -> Result<()> {
    run.inject(format!("the store of east answers once in {} s", LATE.as_secs()));
    let (since, full) = (Instant::now(), run.time(SLOW.0, SLOW.1));
    let (mut slowest, mut rounds) = (Duration::ZERO, 0);
    let endpoint = format!("--endpoints={}", run.stage.bed.stores["east"].endpoint);
    let netns = run.stage.bed.cluster("east")?.store_netns.clone();
    while since.elapsed() < full {
        run.stage.bed.store("east")?.0.process.pause()?;
        let (endpoint, netns, asked) = (endpoint.clone(), netns.clone(), Instant::now());
        let reader = std::thread::spawn(move || {
            let words = ["env", "ETCDCTL_API=3", "etcdctl", &endpoint, "--command-timeout=20s", "get", "none"];
            testbed::run(&netns, &words).map(|_| asked.elapsed())
        });
        std::thread::sleep(LATE);
        run.stage.bed.store("east")?.0.process.resume()?;
        std::thread::sleep(AWAKE);
        if reader.is_finished() {
            slowest = slowest.max(reader.join().map_err(|_| anyhow!("a reader died"))??);
            rounds += 1;
        }
    }
    ensure!(slowest >= LATE, "the slowest read took {slowest:?}");
    run.evidence(format!("{rounds} reads took up to {:.1} s", slowest.as_secs_f64()));
    run.said("east-1")?;
    run.heal("the store answers at once");
    Ok(())
}
