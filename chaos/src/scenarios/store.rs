//! A cluster's own store: away, and forgetful.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::run::Run;

/// How long the store is away.
const AWAY: Duration = Duration::from_secs(10);

/// Kill -9, ten seconds without it, start again.
pub(crate) fn killed(run: &mut Run) -> Result<()> {
    let ip = run.stage.bed.cluster("east")?.store_ip;
    run.inject("etcd of east is killed");
    run.stage.bed.store("east")?.0.process.kill()?;
    run.evidence(run.refused("east-1", ip)?);
    std::thread::sleep(AWAY);
    let complaint = run.complaint("east-1")?;
    let line = complaint.lines().find(|line| line.starts_with("KVStore")).unwrap_or_default();
    ensure!(line.contains("Failure"), "status does not name etcd: {complaint}");
    run.evidence(format!("east-1 says: {}", line.split_whitespace().collect::<Vec<_>>().join(" ")));
    let (store, ledger) = run.stage.bed.store("east")?;
    store.restart(ledger)?;
    run.heal("etcd is back");
    Ok(())
}

/// Every lease of the store is revoked at once, and every leased key with it.
pub(crate) fn leases_revoked(run: &mut Run) -> Result<()> {
    let before = keys(run)?;
    let leases = leases(run)?;
    ensure!(!leases.is_empty(), "there is no lease to revoke");
    run.inject(format!("{} leases of east's etcd are revoked", leases.len()));
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
