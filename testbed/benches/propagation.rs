//! A put in one cluster's etcd to the other cluster's pinned map, beside etcd's own part of it: the same put to the
//! event of a raw watch, in the same mesh. Needs root and the release binaries; `cargo xtask bench propagation`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use etcd_client::{Client, WatchOptions};
use testbed::demo::{Stage, latency, percentiles};
use testbed::{Binaries, Plan};

const ROUNDS: u32 = 1000;

fn main() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("causeway-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let run_id = format!("{:04x}", rand::random::<u16>());
    let plan = Plan::new(&run_id, &dir, 2);
    let mut stage =
        Stage::set(plan, Binaries::beside_us()?, &dir.join("ledger.json"), |line: &str| eprintln!("{line}"))?;
    // Before and after, so that the floor is of the same minute.
    let before = floor(&stage)?;
    let (puts, deletes) = latency::measured(&mut stage)?;
    let after = floor(&stage)?;
    let floor = percentiles(before.into_iter().chain(after).collect());
    let (put, delete) = (percentiles(puts), percentiles(deletes));
    for (name, time, aim) in [
        ("put to remote map, p50", put.0, r#","aim":2"#),
        ("put to remote map, p99", put.1, ""),
        ("delete to remote map, p50", delete.0, ""),
        ("delete to remote map, p99", delete.1, ""),
        ("put to raw etcd watch (floor), p50", floor.0, ""),
        ("put to raw etcd watch (floor), p99", floor.1, ""),
    ] {
        println!(r#"{{"name":"{name}","value":{:.2},"unit":"ms"{aim}}}"#, time.as_secs_f64() * 1e3);
    }
    let ratio = put.0.as_secs_f64() / floor.0.as_secs_f64();
    println!(r#"{{"name":"put to remote map over raw etcd watch, p50","value":{ratio:.2},"unit":"x"}}"#);
    drop(stage.servers);
    stage.bed.down()?;
    std::fs::remove_dir_all(&dir).ok();
    Ok(())
}

/// A put and a watch of the same key from the same place, with nothing of ours between.
fn floor(stage: &Stage) -> Result<Vec<Duration>> {
    let store = stage.bed.stores.get("east").context("east has a store")?.endpoint.clone();
    let netns = netlink::Namespace::open(&stage.node_of("client-a")?.netns)?;
    netns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut client = Client::connect([&store], None).await.context("reach etcd")?;
            let mut watch = Client::connect([&store], None).await.context("reach etcd")?;
            let options = WatchOptions::new().with_prefix();
            let mut stream = watch.watch("bench/floor/", Some(options)).await.context("watch")?;
            let mut times = Vec::new();
            for round in 0..ROUNDS / 2 {
                let key = format!("bench/floor/{}", round % 10);
                let started = Instant::now();
                client.put(key, vec![b'x'; 130], None).await.context("put")?;
                while stream.message().await.context("watch")?.context("the watch ends")?.events().is_empty() {}
                times.push(started.elapsed());
            }
            Ok(times)
        })
    })?
}
