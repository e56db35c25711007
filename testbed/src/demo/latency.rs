//! Proof 7: how long an address takes from a put in one cluster's etcd to the other cluster's kernel.
//!
//! The observer is outside every agent: it polls the pinned map. One clock; one address at a time, ten in turn, so that
//! deletes stay below the share that counts as a mass delete.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aya::maps::{HashMap, Map, MapData};
use ebpf_abi::{IpcacheEntry, Plain, maps};
use etcd_client::Client;

use super::{Stage, percentiles};
use crate::{NodePlan, Store};

/// Puts, and as many deletes.
const ROUNDS: u32 = 1000;
/// An address that takes longer is lost.
const LOST: Duration = Duration::from_secs(5);

type Ipcache = HashMap<MapData, [u8; 4], [u8; size_of::<IpcacheEntry>()]>;

/// Measures and says what was observed.
///
/// # Errors
///
/// When an address does not arrive.
pub fn prove(stage: &mut Stage) -> Result<String> {
    let (puts, deletes) = measured(stage)?;
    let (put, delete) = (percentiles(puts), percentiles(deletes));
    let ms = |(median, high): (Duration, Duration)| {
        format!("p50 {:.2} ms, p99 {:.2} ms", median.as_secs_f64() * 1e3, high.as_secs_f64() * 1e3)
    };
    Ok(format!("{ROUNDS} puts: {}; {ROUNDS} deletes: {}", ms(put), ms(delete)))
}

/// How long each put and each delete took.
///
/// # Errors
///
/// When an address does not arrive.
pub fn measured(stage: &mut Stage) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let identity = stage.identity_in_etcd("client-a", false)?;
    let store = stage.bed.stores.get("east").context("east has a store")?;
    Way { store, from: stage.node_of("client-a")?, to: stage.node_of("client-w")?, identity }.measured(ROUNDS)
}

/// From a node's store to another node's kernel.
pub struct Way<'a> {
    /// Where addresses are put.
    pub store: &'a Store,
    /// The node that they are said to be on; they are taken from the end of its range.
    pub from: &'a NodePlan,
    /// The node whose kernel is watched.
    pub to: &'a NodePlan,
    /// An identity of the store's cluster.
    pub identity: u32,
}

impl Way<'_> {
    /// How long each put and each delete took.
    ///
    /// # Errors
    ///
    /// When an address does not arrive.
    pub fn measured(&self, rounds: u32) -> Result<(Vec<Duration>, Vec<Duration>)> {
        let pin = self.to.bpf_root.join("maps").join(maps::IPCACHE4.pin);
        let map = MapData::from_pin(&pin).with_context(|| format!("open the pinned map {}", pin.display()))?;
        let map = Ipcache::try_from(Map::HashMap(map)).context("the pinned map is the ipcache")?;
        let IpAddr::V4(base) = self.from.range4.addr() else { bail!("the range of {} is no IPv4", self.from.name) };
        let first = u32::from(base) + 200;
        netlink::Namespace::open(&self.from.netns)?.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let host = self.from.ipv4;
            runtime.block_on(measure(&self.store.endpoint, &map, first, host, self.identity, rounds))
        })?
    }
}

async fn measure(
    store: &str,
    map: &Ipcache,
    first: u32,
    host: Ipv4Addr,
    identity: u32,
    rounds: u32,
) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let mut client = Client::connect([store], None).await.context("reach etcd")?;
    let (mut puts, mut deletes) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let ip = Ipv4Addr::from(first + round % 10);
        let key = format!("cilium/state/ip/v1/default/{ip}");
        let value = format!(r#"{{"IP":"{ip}","Mask":null,"HostIP":"{host}","ID":{identity},"Key":0,"Metadata":""}}"#);
        let started = Instant::now();
        client.put(key.clone(), value, None).await.context("put an address")?;
        wait(map, ip, started, |found| found == Some(identity)).with_context(|| format!("{ip} arrives"))?;
        puts.push(started.elapsed());
        let started = Instant::now();
        client.delete(key, None).await.context("delete an address")?;
        wait(map, ip, started, |found| found != Some(identity)).with_context(|| format!("{ip} goes"))?;
        deletes.push(started.elapsed());
    }
    Ok((puts, deletes))
}

fn wait(map: &Ipcache, ip: Ipv4Addr, started: Instant, wanted: impl Fn(Option<u32>) -> bool) -> Result<()> {
    loop {
        let found = map.get(&ip.octets(), 0).ok().and_then(|value| IpcacheEntry::from_bytes(&value));
        if wanted(found.map(|entry| entry.identity)) {
            return Ok(());
        }
        if started.elapsed() > LOST {
            bail!("not within {} s", LOST.as_secs());
        }
        std::thread::yield_now();
    }
}
