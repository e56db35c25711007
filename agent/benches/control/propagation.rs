//! A put to the row in a reader's kernel: etcd with Cilium's watch and map, etcd with ours, our store with ours.
//!
//! One client writes for all. The reader notes when the kernel had taken the row, by the machine's clock.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kvstore::{Backend, Client};
use tokio::time::{MissedTickBehavior, interval};

use crate::cold::read;
use crate::content::{Size, TIMED, fill};
use crate::part::{Side, number};
use crate::read::monotonic;
use crate::report::{compare, line, median, pairs, percentile};
use crate::server::{Kind, Server, client};

/// Changes a second, and how many are timed.
const RATES: [(u64, u32); 2] = [(50, 500), (500, 2000)];
/// Other addresses in the cluster.
const OTHERS: [u64; 2] = [0, 50_000];
const WAYS: [(Kind, Side); 3] = [(Kind::Etcd, Side::Cilium), (Kind::Etcd, Side::Ours), (Kind::Ours, Side::Ours)];
const NAMES: [&str; 3] = ["etcd and Cilium", "ours on etcd", "ours on our store"];
/// Of ours on etcd and on our store against the peer.
const AIMS: [f64; 2] = [0.8, 0.5];
/// Puts before those that count.
const WARM: u32 = 100;

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    put: f64,
    p50: f64,
    p99: f64,
    /// Of the reader, in microseconds a change.
    cpu: f64,
}

pub(crate) fn run() -> Result<()> {
    // By others, rate, and way.
    let mut found: BTreeMap<(u64, u64), Vec<[Times; 3]>> = BTreeMap::new();
    for pair in 0..pairs() {
        for others in OTHERS {
            let mut times = [[Times::default(); 3]; RATES.len()];
            for turn in 0..WAYS.len() {
                let way = (pair + turn) % WAYS.len();
                for (at, taken) in take(way, others)?.into_iter().enumerate() {
                    times[at][way] = taken;
                }
            }
            for ((rate, _), times) in RATES.iter().zip(times) {
                found.entry((others, *rate)).or_default().push(times);
            }
        }
    }
    for ((others, rate), all) in &found {
        for (way, aim) in [1, 2].into_iter().zip(AIMS) {
            for what in ["p50", "p99"] {
                let of = |times: &Times| if what == "p50" { times.p50 } else { times.p99 };
                let name = format!("{}, put to the kernel at {rate}/s among {others}, {what}", NAMES[way]);
                let values: Vec<(f64, f64)> = all.iter().map(|times| (of(&times[0]), of(&times[way]))).collect();
                compare(&name, "ms", Some(aim), &values)?;
            }
            let name = format!("{}, the reader's CPU for a change at {rate}/s among {others}", NAMES[way]);
            let values: Vec<(f64, f64)> = all.iter().map(|times| (times[0].cpu, times[way].cpu)).collect();
            compare(&name, "us", None, &values)?;
        }
        for (way, name) in NAMES.iter().enumerate() {
            let answered = median(all.iter().map(|times| times[way].put));
            line(&format!("{name}, put to its answer at {rate}/s among {others}, p50"), answered, "ms", None);
        }
    }
    Ok(())
}

/// One way at each rate.
fn take(way: usize, others: u64) -> Result<Vec<Times>> {
    let (kind, side) = WAYS[way];
    let server = Server::start(kind)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(async {
        let client = client(&server.url, 0).await?;
        let size = Size { ips: others, nodes: others / 100 + 1, identities: 25_000.min(others) };
        fill(&client, size).await.context("fill the store")?;
        Ok::<_, anyhow::Error>(client)
    })?;
    let mut reader = read(&server, side, "map", 0)?;
    let mut times = Vec::new();
    for (at, (rate, count)) in RATES.into_iter().enumerate() {
        let before = number(&reader.ask("costs")?, "cpu")?;
        let puts = runtime.block_on(put(&client, at as u8, rate, count + WARM))?;
        std::thread::sleep(Duration::from_millis(500));
        let cpu = (number(&reader.ask("costs")?, "cpu")? - before) * 1e6 / f64::from(count + WARM);
        let mut arrived = BTreeMap::new();
        for line in reader.ask("stamps")? {
            let mut words = line.split(' ').skip(1);
            let (ip, nanos) = words.next().zip(words.next()).with_context(|| line.clone())?;
            arrived.insert(ip.parse::<Ipv4Addr>()?, nanos.parse::<i64>()?);
        }
        let counted = puts.iter().filter(|put| put.number >= WARM);
        let ways: Result<Vec<f64>> = counted
            .clone()
            .map(|put| {
                let at = arrived.get(&put.ip).with_context(|| format!("{} never arrived", put.ip))?;
                Ok((at - put.started) as f64 / 1e6)
            })
            .collect();
        let ways = ways?;
        ensure!(ways.len() == count as usize, "{} of {count} were timed", ways.len());
        let taken = Times {
            put: percentile(counted.map(|put| (put.answered - put.started) as f64 / 1e6), 0.5),
            p50: percentile(ways.iter().copied(), 0.5),
            p99: percentile(ways.iter().copied(), 0.99),
            cpu,
        };
        eprintln!("{} among {others} at {rate}/s: {taken:.2?} ms", NAMES[way]);
        times.push(taken);
    }
    if side == Side::Ours {
        reader.ask("leave")?;
    }
    Ok(times)
}

struct Put {
    number: u32,
    ip: Ipv4Addr,
    started: i64,
    answered: i64,
}

/// Addresses at a rate, each once.
async fn put(client: &Client, octet: u8, rate: u64, count: u32) -> Result<Vec<Put>> {
    let mut beat = interval(Duration::from_micros(1_000_000 / rate));
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut waiting = futures_util::stream::FuturesUnordered::new();
    let mut puts = Vec::new();
    let mut number = 0;
    while number < count || !waiting.is_empty() {
        tokio::select! {
            _ = beat.tick(), if number < count => {
                let [high, low] = (number as u16).to_be_bytes();
                let ip = Ipv4Addr::new(10, 200 + octet, high, low);
                let value = format!(r#"{{"IP":"{ip}","Mask":null,"HostIP":"192.168.0.0","ID":{TIMED},"Key":0,"Metadata":"cilium-global:default:node-0:{number}","K8sNamespace":"shop","K8sPodName":"timed-{number}","K8sServiceAccount":"default"}}"#);
                let started = monotonic();
                let request = client.put(Bytes::from(format!("cilium/state/ip/v1/default/{ip}")), value.into(), None);
                waiting.push(async move {
                    request.await.map(|_| Put { number, ip, started, answered: monotonic() })
                });
                number += 1;
            }
            Some(put) = futures_util::StreamExt::next(&mut waiting), if !waiting.is_empty() => puts.push(put?),
        }
    }
    Ok(puts)
}
