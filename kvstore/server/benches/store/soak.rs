//! A minute of puts with a compaction each five seconds and leases that come and go: the longest silence, and the worst
//! second.

use std::time::{Duration, Instant};

use anyhow::Result;
use kvstore_server::pb::etcdserverpb as pb;

use crate::client::Client;
use crate::report::{compare, percentile};
use crate::server::{Server, Side};

const TIME: Duration = Duration::from_secs(60);
const COMPACT_EVERY: Duration = Duration::from_secs(5);
const WRITERS: usize = 16;

pub(crate) fn run() -> Result<()> {
    let (etcd, ours) = (take(Side::Etcd)?, take(Side::Ours)?);
    compare("soak: longest time without an acknowledged put", "ms", Some(1.0), &[(etcd[0], ours[0])])?;
    compare("soak: p99 of the worst second", "ms", Some(1.0), &[(etcd[1], ours[1])])?;
    compare("soak: puts a second", "/s", None, &[(etcd[2], ours[2])])
}

/// When each put was acknowledged since the beginning, and how long it took, both in milliseconds.
async fn write(client: Client, writer: usize, began: Instant) -> Result<Vec<(f64, f64)>> {
    let mut done = Vec::new();
    let mut number = 0;
    while began.elapsed() < TIME {
        number += 1;
        let lease = (writer * 10_000_000 + number) as i64;
        let leased = number % 100 == 0;
        if leased {
            let request = pb::LeaseGrantRequest { ttl: 2, id: lease };
            client.ask::<pb::LeaseGrantResponse>("/etcdserverpb.Lease/LeaseGrant", &request).await?;
        }
        let sent = Instant::now();
        let key = format!("soak/{writer}/{}", number % 1_000);
        client.put(key.as_bytes(), &[b'v'; 256], if leased { lease } else { 0 }).await?;
        done.push((began.elapsed().as_secs_f64() * 1e3, sent.elapsed().as_secs_f64() * 1e3));
    }
    Ok(done)
}

fn take(side: Side) -> Result<[f64; 3]> {
    let server = Server::start(side)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut done = runtime.block_on(async {
        let began = Instant::now();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 1..=WRITERS {
            let client = Client::connect(&server.url()).await?;
            writers.spawn(write(client, writer, began));
        }
        let client = Client::connect(&server.url()).await?;
        while began.elapsed() + COMPACT_EVERY < TIME {
            tokio::time::sleep(COMPACT_EVERY).await;
            let revision = client.get(b"a").await?.header.unwrap_or_default().revision;
            let compact = pb::CompactionRequest { revision, physical: false };
            client.ask::<pb::CompactionResponse>("/etcdserverpb.KV/Compact", &compact).await?;
        }
        let mut done = Vec::new();
        while let Some(writer) = writers.join_next().await {
            done.extend(writer??);
        }
        anyhow::Ok(done)
    })?;
    done.sort_by(|a, b| a.0.total_cmp(&b.0));
    let silence = done.windows(2).map(|pair| pair[1].0 - pair[0].0).fold(0.0, f64::max);
    let second = |n: u64| done.iter().filter(move |(at, _)| (*at / 1e3) as u64 == n).map(|(_, took)| *took);
    let worst = (0..TIME.as_secs()).map(|n| percentile(second(n), 0.99)).fold(0.0, f64::max);
    Ok([silence, worst, done.len() as f64 / TIME.as_secs_f64()])
}
