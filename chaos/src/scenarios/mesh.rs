//! The other cluster: cut off, without its store, with an empty one, and taken out of the mesh.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::demo::service::relabel;

use crate::judge::Touch;
use crate::run::Run;

/// How long something is away: TCP has by then backed off to more than ten seconds.
const AWAY: Duration = Duration::from_secs(14);
/// Packets of before the healing may still be lost, and neighbours must be found again.
const GRACE: Duration = Duration::from_secs(2);

/// Both ways.
pub(crate) fn cut(run: &mut Run) -> Result<()> {
    let (out, into) = ports(run)?;
    cut_ports(run, &[out, into])
}

/// What west sends, then what west receives.
pub(crate) fn cut_one_way(run: &mut Run) -> Result<()> {
    let (out, into) = ports(run)?;
    cut_ports(run, &[out])?;
    cut_ports(run, &[into])
}

/// The two directions of west's link.
fn ports(run: &Run) -> Result<(String, String)> {
    let west = run.stage.bed.cluster("west")?;
    // What an end of the link sends: the cluster's end what leaves it, the other what enters it.
    Ok((west.mesh_out.clone(), west.mesh_in.clone()))
}

fn cut_ports(run: &mut Run, ports: &[String]) -> Result<()> {
    run.excuse(Touch::Mesh);
    run.inject(format!("whatever {} would send is dropped without a sign", ports.join(" and ")));
    // The bridge's end of a pair sends into the pair: silence there drops what goes the other way.
    for port in ports {
        run.stage.bed.network.set_silent(port, true)?;
    }
    let cut = Instant::now();
    // While nobody there can hear of it, something changes.
    relabel(&run.stage, "web-x", "retired")?;
    std::thread::sleep(AWAY.saturating_sub(cut.elapsed()));
    for port in ports {
        let dropped = run.stage.bed.network.dropped(port)?.with_context(|| format!("{port} is not silent"))?;
        ensure!(dropped > 0, "{port} dropped nothing");
        run.evidence(format!("{port} dropped {dropped} packets"));
    }
    for port in ports {
        run.stage.bed.network.set_silent(port, false)?;
    }
    run.end_excuses(GRACE);
    run.heal("the link is whole");
    run.converge("what changed behind the cut is known")?;
    relabel(&run.stage, "web-x", "web")?;
    run.heal("the change is taken back");
    Ok(())
}

/// Kill -9, some seconds without it, start again.
pub(crate) fn store_killed(run: &mut Run) -> Result<()> {
    let ip = run.stage.bed.cluster("west")?.store_ip;
    run.inject("etcd of west is killed");
    run.stage.bed.store("west")?.0.process.kill()?;
    run.evidence(run.refused("east-1", ip)?);
    relabel(&run.stage, "web-x", "retired")?;
    std::thread::sleep(AWAY);
    let (store, ledger) = run.stage.bed.store("west")?;
    store.restart(ledger)?;
    run.heal("etcd of west is back");
    run.converge("what changed without etcd is known")?;
    relabel(&run.stage, "web-x", "web")?;
    run.heal("the change is taken back");
    Ok(())
}

/// Kill -9, the data is removed, start again: the same cluster id, and nothing in it.
pub(crate) fn store_wiped(run: &mut Run) -> Result<()> {
    let before = header(run)?;
    run.inject("etcd of west is killed and its data removed");
    let (store, ledger) = run.stage.bed.store("west")?;
    store.process.kill()?;
    store.wipe()?;
    store.restart(ledger)?;
    let after = header(run)?;
    ensure!(after.0 == before.0, "the cluster id is another: the easier case");
    ensure!(after.1 < before.1, "revision {} is not below {}", after.1, before.1);
    run.evidence(format!("the same cluster id; revision {} before, {} now", before.1, after.1));
    run.heal("the empty etcd answers");
    Ok(())
}

/// The client file goes from east, and comes back.
pub(crate) fn cluster_removed(run: &mut Run) -> Result<()> {
    run.excuse(Touch::Mesh);
    let echo = run.stage.pod("echo-w")?.ipv4.to_string();
    run.inject("east's client file of west is removed");
    run.stage.bed.disconnect("east", "west")?;
    for node in ["east-1", "east-2"] {
        let node = run.node(node)?;
        testbed::wait_until(&format!("{} forgets west", node.name), Duration::from_secs(5), || {
            let rows = testbed::demo::dump::rows(&run.stage.bed, &node, "ipcache")?;
            ensure!(!rows.iter().any(|row| row.starts_with(&echo)), "{echo} is still in the ipcache");
            Ok(())
        })?;
    }
    run.evidence(format!("{echo} is gone from the ipcache of both nodes"));
    std::thread::sleep(Duration::from_secs(2));
    run.stage.bed.connect("east", "west")?;
    run.heal("the file is back");
    run.converge("west is known again")?;
    run.end_excuses(GRACE);
    Ok(())
}

/// Cluster id and revision of west's store.
fn header(run: &Run) -> Result<(u64, u64)> {
    let store = &run.stage.bed.stores["west"];
    let answer: Value = serde_json::from_str(&store.etcdctl(&["get", "none", "--write-out=json"])?)?;
    let field = |name: &str| answer["header"][name].as_u64().with_context(|| format!("etcd's header has no {name}"));
    Ok((field("cluster_id")?, field("revision")?))
}
