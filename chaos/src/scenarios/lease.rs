//! Leases that end although their owners live.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::run::Run;

/// The node that loses its lease alone.
const NODE: &str = "east-1";
/// The shortest lease that an agent takes, by its flag.
const TTL: Duration = Duration::from_secs(25);
/// How long it stands still then: the store has ended the lease by that time.
const PAUSED: Duration = Duration::from_secs(35);

/// Every lease of the store is revoked at once, and every leased key with it.
pub(crate) fn all_revoked(run: &mut Run) -> Result<()> {
    let before = keys(run)?;
    let leases = leases(run)?;
    ensure!(!leases.is_empty(), "there is no lease to revoke");
    run.inject(format!("{} leases of east's store are revoked", leases.len()));
    for lease in &leases {
        // One that ended by itself is as wanted.
        run.stage.bed.stores["east"].etcdctl(&["lease", "revoke", lease]).ok();
    }
    let after = keys(run)?;
    let left: Vec<_> = self::leases(run)?.into_iter().filter(|lease| leases.contains(lease)).collect();
    ensure!(left.is_empty(), "leases are still there: {left:?}");
    run.evidence(format!("{} leases are gone; {before} keys before, {after} right after", leases.len()));
    run.heal("owners may put their keys again");
    Ok(())
}

/// One agent's lease is revoked, and all that it published goes with it.
pub(crate) fn one_revoked(run: &mut Run) -> Result<()> {
    let key = format!("cilium/state/nodes/v1/east/{NODE}");
    let (lease, created) = lease_of(run, "east", &key)?;
    run.inject(format!("the lease of {NODE} ({lease:x}) is revoked"));
    run.stage.bed.stores["east"].etcdctl(&["lease", "revoke", &format!("{lease:x}")])?;
    run.heal("its owner may put its keys again");
    let again = testbed::wait_until("the node's key is back", Duration::from_secs(5), || {
        let (again, at) = lease_of(run, "east", &key)?;
        ensure!(again != lease && at > created, "the key is still the old one");
        Ok(again)
    })?;
    run.evidence(format!("{key} was deleted and is back under lease {again:x}"));
    Ok(())
}

/// An agent stands still until the store has ended its lease.
pub(crate) fn outlived(run: &mut Run) -> Result<()> {
    let words = run.agent(NODE)?.words().to_vec();
    let short: Vec<String> = [words.clone(), vec![format!("--kvstore-lease-ttl={}s", TTL.as_secs())]].concat();
    run.become_agent(NODE, short)?;
    let key = format!("cilium/state/nodes/v1/east/{NODE}");
    testbed::wait_until("the node's key has the short lease", Duration::from_secs(10), || {
        let (lease, _) = lease_of(run, "east", &key)?;
        let text = run.stage.bed.stores["east"].etcdctl(&["lease", "timetolive", &format!("{lease:x}")])?;
        ensure!(text.contains(&format!("granted with TTL({}s)", TTL.as_secs())), "{text}");
        Ok(())
    })?;
    run.inject(format!(
        "the agent of {NODE} stands still for {} s; its lease lives {} s",
        PAUSED.as_secs(),
        TTL.as_secs()
    ));
    run.agent(NODE)?.pause()?;
    std::thread::sleep(PAUSED);
    let gone = lease_of(run, "east", &key);
    ensure!(gone.is_err(), "{key} is still there");
    run.evidence(format!("{key} went with its lease"));
    run.agent(NODE)?.resume()?;
    run.heal("the agent goes on");
    testbed::wait_until("the node's key is back", Duration::from_secs(10), || lease_of(run, "east", &key).map(|_| ()))?;
    run.become_agent(NODE, words)?;
    run.heal("it is started with its old flags");
    Ok(())
}

/// The lease of a key, and the revision at which the key was made.
pub(super) fn lease_of(run: &Run, cluster: &str, key: &str) -> Result<(u64, u64)> {
    let answer = run.stage.bed.stores[cluster].etcdctl(&["get", key, "--write-out=json"])?;
    let answer: Value = serde_json::from_str(&answer).context("understand etcdctl")?;
    let kv = answer["kvs"].get(0).with_context(|| format!("{key} is not there"))?;
    let field = |name: &str| kv[name].as_u64().with_context(|| format!("{key} has no {name}"));
    Ok((field("lease")?, field("create_revision")?))
}

/// In hexadecimal, as etcdctl takes them.
fn leases(run: &Run) -> Result<Vec<String>> {
    let text = run.stage.bed.stores["east"].etcdctl(&["lease", "list"])?;
    let ids = text.lines().map(str::trim).filter(|line| line.len() >= 8 && line.chars().all(|c| c.is_ascii_hexdigit()));
    Ok(ids.map(str::to_owned).collect())
}

fn keys(run: &Run) -> Result<usize> {
    let text = run.stage.bed.stores["east"].etcdctl(&["get", "--prefix", "--keys-only", "cilium/"])?;
    Ok(text.lines().filter(|line| !line.is_empty()).count())
}
