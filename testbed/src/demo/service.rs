//! Proof 3: a ClusterIP service spreads connections over its backends, and a backend that is gone gets none.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};

use super::{SETTLE, Stage, ask_often};
use crate::{Manifests, PodSpec, wait_until};

/// The service's addresses in east.
pub const EAST: [&str; 2] = ["10.101.0.10", "fd10:101::10"];
/// And in west.
pub const WEST: [&str; 2] = ["10.102.0.10", "fd10:102::10"];
/// How many connections are counted.
const CONNECTIONS: u32 = 1000;

/// Counts at the backends.
///
/// # Errors
///
/// When a backend gets less or more than its share, or something although it is gone.
pub fn prove(stage: &mut Stage) -> Result<String> {
    let ips = EAST.map(str::to_owned);
    stage.bed.add_service("east", "web", "web", &ips, &[])?;
    wait_for_backends(stage, "client-a", EAST[0], &["web-a", "web-b", "web-c"])?;
    let counted = |stage: &Stage| -> BTreeMap<&str, u64> {
        let count = |name: &'static str| (name, stage.servers.get(name).map_or(0, crate::server::Server::connections));
        ["web-a", "web-b", "web-c"].map(count).into()
    };
    let before = counted(stage);
    let ip: IpAddr = EAST[0].parse()?;
    ask_often(stage.pod("client-a")?, ip, CONNECTIONS)?;
    let counts: BTreeMap<&str, u64> =
        counted(stage).iter().map(|(name, count)| (*name, count - before[name])).collect();
    check_spread(&counts, CONNECTIONS.into())?;
    let v6: IpAddr = EAST[1].parse()?;
    let over_ipv6 = ask_often(stage.pod("client-a")?, v6, 30)?;
    ensure!(over_ipv6.len() == 3, "over IPv6 only {over_ipv6:?} answer");

    // The pod goes on running, its server too: only its labels, and with them its place behind the service, change.
    relabel(stage, "web-c", "retired")?;
    wait_for_backends(stage, "client-a", EAST[0], &["web-a", "web-b"])?;
    let before = counted(stage)["web-c"];
    let answers = ask_often(stage.pod("client-a")?, ip, 300)?;
    let got = counted(stage)["web-c"] - before;
    ensure!(got == 0, "web-c is gone from the map and got {got} of 300 connections");
    relabel(stage, "web-c", "web")?;
    wait_for_backends(stage, "client-a", EAST[0], &["web-a", "web-b", "web-c"])?;
    let shares = counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>();
    Ok(format!("{CONNECTIONS} connections: {}; without web-c: {answers:?}", shares.join(", ")))
}

/// Each backend within a fifth of its even share.
///
/// # Errors
///
/// When one is outside.
pub fn check_spread(counts: &BTreeMap<&str, u64>, connections: u64) -> Result<()> {
    let total: u64 = counts.values().sum();
    ensure!(total == connections, "{connections} connections were made and the backends counted {total}");
    let even = connections as f64 / counts.len() as f64;
    for (name, count) in counts {
        if (*count as f64 - even).abs() > even / 5.0 {
            bail!("{name} got {count} of {connections} connections, more than a fifth off {even:.0}");
        }
    }
    Ok(())
}

/// Waits until the kernel's map of a pod's node holds exactly these pods behind an address.
///
/// # Errors
///
/// When it does not in time.
pub fn wait_for_backends(stage: &Stage, client: &str, frontend: &str, pods: &[&str]) -> Result<()> {
    let ipv6 = frontend.contains(':');
    let ips = pods.iter().map(|pod| Ok(stage.pod(pod)?.ip(ipv6).to_string())).collect::<Result<Vec<_>>>()?;
    let node = stage.node_of(client)?;
    wait_until(&format!("the map of {} has {pods:?} behind {frontend}", node.name), SETTLE, || {
        let rows = super::dump::rows(&stage.bed, node, "lb")?;
        let row = rows.iter().find(|row| row.starts_with(frontend)).context("the map does not have the address")?;
        let listed = row.matches(":8080").count();
        let missing =
            ips.iter().find(|ip| !row.contains(&format!("{ip}:8080")) && !row.contains(&format!("[{ip}]:8080")));
        match missing {
            Some(ip) => bail!("{ip} is missing in {row}"),
            None if listed != ips.len() => bail!("there are others in {row}"),
            None => Ok(()),
        }
    })
}

/// Gives a pod another label `app` by editing its object.
///
/// # Errors
///
/// When the object cannot be written.
pub fn relabel(stage: &Stage, pod: &str, app: &str) -> Result<()> {
    let spec = PodSpec::new("demo", pod, app);
    let cluster = stage.pod(pod)?.node.split('-').next().unwrap_or_default().to_owned();
    Manifests::open(&stage.bed.cluster(&cluster)?.manifests)?.pod("demo", pod, &spec.labels)
}
