//! Cilium writes, we read: a cluster that its own packages publish shows in the tables and the kernel of an agent of
//! another cluster, and of one that shares its etcd; so do updates, deletions, and the end of a lease.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testbed::{Bed, StoreKind, wait_until};

use super::fleet;
use super::peer::{self, Peer};
use super::tables::{self, Of};

/// Until what was published shows.
const SHOWN: Duration = Duration::from_secs(20);
/// Until what was taken back is gone: nodes are held for 30 s, and what goes at once.
const GONE: Duration = Duration::from_secs(60);
/// How long a crashed writer's keys stay.
const TTL: Duration = Duration::from_secs(10);

#[test]
fn what_cilium_writes_our_agents_show() {
    let test = "what_cilium_writes_our_agents_show";
    let Some(_machine) = crate::machine(test) else { return };
    if peer::binary(test, "interop-cilium").is_none() {
        return;
    }
    for kind in fleet::kinds(test) {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut stage = Stage::set(kind, folder.path()).expect("the mesh comes up");
        stage.run(kind).expect("our agent shows what Cilium writes");
    }
}

/// An agent of east, which shares its etcd with a Cilium cluster's nodes and joins Cilium's cluster north.
struct Stage {
    bed: Bed,
    north: Peer,
    within: Peer,
}

const NORTH: Of<'static> = Of { cluster: "north", id: 3, source: "clustermesh" };
const EAST: Of<'static> = Of { cluster: "east", id: 1, source: "kvstore" };

impl Stage {
    fn set(kind: StoreKind, folder: &std::path::Path) -> Result<Self> {
        let mut plan = fleet::plan(kind, folder, &["east", "north"]);
        // Whoever writes its store is the cluster.
        plan.clusters.iter_mut().filter(|cluster| cluster.name == "north").for_each(|north| north.nodes.clear());
        let bed = crate::bed(plan)?;
        for number in 1..=50 {
            let ips = [format!("10.96.0.{number}"), format!("fd96::{number}")];
            let annotations = [("service.cilium.io/global", "true")];
            bed.manifests("east")?.service("shop", &format!("svc-{number}"), "none", &ips, &annotations)?;
        }
        let publish = |of: Of<'_>, more: &[String]| {
            let flags = [
                format!("-endpoint={}", bed.stores[of.cluster].endpoint),
                format!("-cluster={}", of.cluster),
                format!("-id={}", of.id),
            ];
            Peer::start(&bed.cluster(of.cluster)?.store_netns, "publish", &[&flags, more].concat())
        };
        let north = publish(NORTH, &[format!("-ttl={}s", TTL.as_secs())])?;
        let within = publish(EAST, &["-within".to_owned()])?;
        Ok(Self { bed, north, within })
    }

    fn run(&mut self, kind: StoreKind) -> Result<()> {
        let started = Instant::now();
        let step = |what: &str, counts: &str| {
            println!("{kind}: {what}: {counts} ({:.1} s)", started.elapsed().as_secs_f64());
        };
        let (mut north, mut within) = (self.north.ask("publish")?, self.within.ask("publish")?);
        self.bed.connect("east", "north")?;
        step("another cluster's", &self.shows(NORTH, &north, SHOWN)?);
        step("our cluster's", &self.shows(EAST, &within, SHOWN)?);
        (north, within) = (self.north.ask("update")?, self.within.ask("update")?);
        step("updated", &format!("{}; {}", self.shows(NORTH, &north, SHOWN)?, self.shows(EAST, &within, SHOWN)?));
        self.twin(&north)?;
        (north, within) = (self.north.ask("delete")?, self.within.ask("delete")?);
        step("deleted", &format!("{}; {}", self.shows(NORTH, &north, GONE)?, self.shows(EAST, &within, GONE)?));
        self.north.check_silent()?;
        self.within.check_silent()?;
        step("lease ended", &self.expires(&north)?);
        // The other cluster's end is not felt here.
        self.shows(EAST, &within, SHOWN)?;
        Ok(())
    }

    /// Waits until our agent shows what is meant; how much was compared.
    fn shows(&self, of: Of<'_>, lines: &[String], within: Duration) -> Result<String> {
        let mut meant = tables::meant(lines, of)?;
        if of.source == "kvstore" {
            // An agent exports its own cluster's services from its own objects.
            for table in ["global-services", "bpf lb"] {
                meant.entry(table).or_default().clear();
            }
        }
        // A Service without a backend has a row all the same.
        let node = &self.bed.cluster("east")?.nodes[0];
        wait_until(&format!("{} shows as Cilium wrote it", of.cluster), within, || {
            let mut shown = tables::shown(&self.bed, node, of)?;
            shown.entry("bpf lb").or_default().retain(|line| !line.ends_with("-> "));
            tables::compare(&meant, &shown)
        })
    }

    /// One address that is not as Cilium wrote it must be noticed.
    fn twin(&mut self, lines: &[String]) -> Result<()> {
        let key = "cilium/state/ip/v1/default/10.103.1.10";
        let store = &self.bed.stores["north"];
        let honest = store.etcdctl(&["get", "--print-value-only", key])?;
        let id = honest.split("\"ID\":").nth(1).and_then(|rest| rest.split(',').next()).context("an ID")?;
        let other = if id == "196608" { "196609" } else { "196608" };
        store.etcdctl(&[
            "put",
            key,
            honest.trim().replace(&format!("\"ID\":{id},"), &format!("\"ID\":{other},")).as_str(),
        ])?;
        let node = &self.bed.cluster("east")?.nodes[0];
        let meant = tables::meant(lines, NORTH)?;
        wait_until("a planted address turns the check red", SHOWN, || {
            match tables::compare(&meant, &tables::shown(&self.bed, node, NORTH)?) {
                Err(error) if error.to_string().contains("10.103.1.10") => Ok(()),
                other => bail!("it is {other:?}"),
            }
        })?;
        let lines = self.north.ask("update")?;
        self.shows(NORTH, &lines, SHOWN).map(drop)
    }

    /// The writer dies: all that had its lease goes, with the service's backends; identities have none.
    fn expires(&mut self, lines: &[String]) -> Result<String> {
        self.north.crash();
        let stay: Vec<String> = lines.iter().filter(|line| line.starts_with("identity ")).cloned().collect();
        ensure!(stay.len() >= 100 && stay.len() < lines.len(), "{} of {} lines stay", stay.len(), lines.len());
        self.shows(NORTH, &stay, TTL + GONE)
    }
}
