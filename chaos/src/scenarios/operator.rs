//! No operator, and too many.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::clock::{self, Clock};
use crate::oracle;
use crate::run::Run;

/// The cluster whose operator is broken; the other one reads its heartbeat.
const CLUSTER: &str = "west";
const READER: &str = "east-1";
/// A killed leader's lock outlives it by its lease: 25 s; a round more for the expiry.
const TAKE_OVER: Duration = Duration::from_secs(35);
/// How long it is gone, in hours, shortened and in full.
const HOURS: (u64, u64) = (2, 24);
/// How fast they pass: a day in four minutes.
const SCALE: u32 = 360;
/// Readers call a heartbeat stale after two minutes of their time.
const STALE: Duration = Duration::from_secs(5);
/// Within which an operator collects what was unused twice: it looks each quarter of an hour.
const COLLECTS: Duration = Duration::from_secs(3600);
/// How long a heartbeat is nonsense, and how long it is gone.
const NONSENSE: Duration = Duration::from_secs(5);
/// Within which an operator beats when its heartbeat is gone.
const BEAT: Duration = Duration::from_secs(10);

/// Kill -9 and start again.
pub(crate) fn killed(run: &mut Run) -> Result<()> {
    let pid = operator(run)?.pid();
    run.inject(format!("kill -9 the operator of {CLUSTER}"));
    operator(run)?.kill()?;
    std::thread::sleep(Duration::from_secs(2));
    run.stage.bed.restart(|parts| parts.operators.get_mut(CLUSTER))?;
    let now = operator(run)?.pid();
    ensure!(now != pid, "it still has pid {pid}");
    run.evidence(format!("pid {pid} is gone, {now} runs"));
    run.heal("it is back");
    Ok(())
}

/// A second one queues; the first is killed; the second leads, and beats.
pub(crate) fn doubled(run: &mut Run) -> Result<()> {
    wait_for_contenders(run, 1)?;
    let words = operator(run)?.words().to_vec();
    let node = run.node(&format!("{CLUSTER}-2"))?;
    let log = run.stage.bed.plan.dir.join(CLUSTER).join("operator-2.log");
    run.inject("a second operator starts on another node");
    let second = run.stage.bed.spawn("second operator", &node.netns, &log, &words)?;
    wait_for_contenders(run, 2)?;
    let leader = contenders(run)?.into_iter().next().context("somebody leads")?;
    run.evidence(format!("two contend for the lock, {leader} leads"));
    let beat = heartbeat(run)?;
    run.inject("the leader is killed");
    operator(run)?.kill()?;
    let killed = Instant::now();
    testbed::wait_until("the other one leads and beats", TAKE_OVER, || {
        let now = contenders(run)?;
        ensure!(now.first().is_some_and(|holder| *holder != leader), "{now:?} contend, {leader} led before");
        ensure!(heartbeat(run)? > beat, "no heartbeat since");
        Ok(())
    })?;
    run.holds("one follows the other", format!("{:.1} s after the kill", killed.elapsed().as_secs_f64()));
    // The second one takes the place of the first.
    run.stage.bed.operators.insert(CLUSTER.to_owned(), second);
    run.stage.bed.save()?;
    run.heal("one operator leads");
    Ok(())
}

/// None for a day of everybody else's time; the other cluster says so; it comes back, and looks for what is unused.
pub(crate) fn gone(run: &mut Run) -> Result<()> {
    let hours = run.count(HOURS.0, HOURS.1, "hours of scaled time");
    let clock = Clock::of(run, &["east", CLUSTER])?;
    let keys = oracle::keys(&run.stage)?;
    run.inject(format!("the operator of {CLUSTER} is killed and stays away for {hours} h"));
    operator(run)?.kill()?;
    let beat = heartbeat(run)?;
    clock.set(&format!("scale={SCALE}"))?;
    std::thread::sleep(Duration::from_secs(hours * 3600) / SCALE);
    let node = run.node(READER)?;
    let said = testbed::wait_until("the other cluster says how old the heartbeat is", STALE, || {
        // It connects anew each two minutes of its time, and calls itself well in between.
        let status = run.stage.bed.causeway(&node, &["status", "--verbose"]);
        let status = status.unwrap_or_else(|error| format!("{error:#}"));
        let line = status.lines().find(|line| line.contains("heartbeat: ")).context("no word of the heartbeat")?;
        let age = line.split("heartbeat: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        let age = age.with_context(|| format!("no age in {line:?}"))?;
        // What restarting the others took is real time.
        ensure!(age >= hours * 3600, "the heartbeat is {age} s old after {hours} h");
        Ok(format!("heartbeat {age} s old"))
    })?;
    ensure!(heartbeat(run)? == beat, "somebody beats");
    run.evidence(format!("after {hours} h {READER} says: {said}"));
    run.says(format!("{READER}: {said}"));
    kept(run, &keys)?;
    run.stage.bed.restart(|parts| parts.operators.get_mut(CLUSTER))?;
    testbed::wait_until("the heart beats again", TAKE_OVER, || {
        ensure!(heartbeat(run)? > beat, "no heartbeat since");
        Ok(())
    })?;
    run.evidence("the operator is back and beats");
    std::thread::sleep(COLLECTS / SCALE);
    kept(run, &keys)?;
    run.holds("nothing that is used was collected", format!("{} keys, an hour after its return", keys.len()));
    clock.set("")?;
    clock::of_the_machine(&mut run.stage.bed)?;
    run.heal("everybody goes by the machine's clock again");
    Ok(())
}

fn kept(run: &Run, before: &BTreeSet<String>) -> Result<()> {
    let now = oracle::keys(&run.stage)?;
    let lost: Vec<_> = before.difference(&now).take(3).collect();
    ensure!(lost.is_empty(), "keys are gone: {lost:?}");
    Ok(())
}

/// The heartbeat stops, becomes nonsense, and goes.
pub(crate) fn heartbeat_lost(run: &mut Run) -> Result<()> {
    run.inject(format!("the operator of {CLUSTER} stands still; its heartbeat becomes nonsense, then goes"));
    operator(run)?.pause()?;
    let beat = heartbeat(run)?;
    let store = &run.stage.bed.stores[CLUSTER];
    store.etcdctl(&["put", "cilium/.heartbeat", "1970-13-41T99:99:99Z \u{fffd}"])?;
    std::thread::sleep(NONSENSE);
    store.etcdctl(&["del", "cilium/.heartbeat"])?;
    std::thread::sleep(NONSENSE);
    ensure!(heartbeat(run).is_err(), "somebody beats");
    run.evidence("the heartbeat was nonsense, and is gone");
    run.said(READER)?;
    operator(run)?.resume()?;
    testbed::wait_until("the heart beats again", BEAT, || {
        ensure!(heartbeat(run)? > beat, "no heartbeat since");
        Ok(())
    })?;
    run.heal("the operator goes on and beats");
    Ok(())
}

fn operator(run: &mut Run) -> Result<&mut testbed::Process> {
    run.stage.bed.operators.get_mut(CLUSTER).with_context(|| format!("{CLUSTER} has no operator"))
}

/// Who contends for the lock, the holder first: create revisions.
fn contenders(run: &Run) -> Result<Vec<u64>> {
    let prefix = format!("causeway/v1/{CLUSTER}/leader");
    let mut found = revisions(run, &prefix, "create_revision")?;
    found.sort_unstable();
    Ok(found)
}

fn wait_for_contenders(run: &Run, count: usize) -> Result<()> {
    testbed::wait_until(&format!("{count} contend for the lock"), TAKE_OVER, || {
        let now = contenders(run)?;
        ensure!(now.len() == count, "{now:?} contend");
        Ok(())
    })
}

/// The revision of the last heartbeat.
fn heartbeat(run: &Run) -> Result<u64> {
    match revisions(run, "cilium/.heartbeat", "mod_revision")?.as_slice() {
        [revision] => Ok(*revision),
        other => bail!("{} heartbeats", other.len()),
    }
}

fn revisions(run: &Run, prefix: &str, field: &str) -> Result<Vec<u64>> {
    let store = run.stage.bed.stores.get(CLUSTER).with_context(|| format!("{CLUSTER} has no store"))?;
    let text = store.etcdctl(&["get", "--prefix", "--keys-only", prefix, "--write-out=json"])?;
    let answer: Value = serde_json::from_str(&text).context("understand etcdctl")?;
    Ok(answer["kvs"].as_array().into_iter().flatten().filter_map(|kv| kv[field].as_u64()).collect())
}
