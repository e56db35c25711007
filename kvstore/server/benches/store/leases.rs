//! Ten thousand leases kept alive; then a thousand that end at once while puts go on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use kvstore_server::pb::etcdserverpb as pb;
use prost::Message;
use tokio_stream::StreamExt;

use crate::client::{Client, Raw};
use crate::report::{compare, percentile};
use crate::server::{Server, Side};

const LEASES: i64 = 10_000;
const ENDING: i64 = 1_000;
/// How long a lease that ends lasts.
const TTL_SECS: i64 = 5;

pub(crate) fn run() -> Result<()> {
    let (mut alive, mut idle, mut ending, mut late) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (etcd, ours) = (take(Side::Etcd)?, take(Side::Ours)?);
    for (values, at) in [(&mut alive, 0), (&mut idle, 1), (&mut ending, 2), (&mut late, 3)] {
        values.push((etcd[at], ours[at]));
    }
    compare("keep-alive: server CPU", "us", None, &alive)?;
    compare("p99 of puts, idle", "ms", None, &idle)?;
    compare("p99 of puts while 1,000 leases end", "ms", None, &ending)?;
    crate::report::line("p99 of puts while 1,000 leases end, against idle, ours", ours[2] / ours[1], "x", Some(1.5));
    compare("1,000 leases of 5 s: the last key is gone after", "s", None, &late)
}

async fn grant(client: &Client, id: i64, ttl: i64) -> Result<()> {
    client.ask::<pb::LeaseGrantResponse>("/etcdserverpb.Lease/LeaseGrant", &pb::LeaseGrantRequest { ttl, id }).await?;
    Ok(())
}

async fn keep_alive(client: &Client, ids: std::ops::RangeInclusive<i64>) -> Result<()> {
    let count = ids.clone().count();
    let requests = ids.map(|id| Bytes::from(pb::LeaseKeepAliveRequest { id }.encode_to_vec()));
    let requests = tokio_stream::iter(requests.collect::<Vec<_>>()).chain(tokio_stream::pending());
    let mut grpc = client.grpc();
    grpc.ready().await?;
    let path = http::uri::PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
    let mut answers = grpc.streaming(tonic::Request::new(requests), path, Raw).await?.into_inner();
    for _ in 0..count {
        let answer = answers.message().await?.map(pb::LeaseKeepAliveResponse::decode).transpose()?;
        ensure!(answer.is_some_and(|answer| answer.ttl > 0), "a lease was not kept alive");
    }
    Ok(())
}

/// Puts at 200 a second for so long: their times in milliseconds.
async fn puts(client: &Client, time: Duration) -> Result<Vec<f64>> {
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < time {
        let sent = Instant::now();
        client.put(b"put", &[b'v'; 256], 0).await?;
        times.push(sent.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(times)
}

fn take(side: Side) -> Result<[f64; 4]> {
    let server = Server::start(side)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(&server.url()).await?;
        for id in 1..=LEASES {
            grant(&client, id, 600).await?;
        }
        let before = server.cpu()?;
        keep_alive(&client, 1..=LEASES).await?;
        let alive = (server.cpu()? - before).as_secs_f64() * 1e6 / LEASES as f64;
        let idle = puts(&client, Duration::from_secs(TTL_SECS as u64)).await?;
        for id in LEASES + 1..=LEASES + ENDING {
            grant(&client, id, 600).await?;
            client.put(format!("leased/{id}").as_bytes(), b"v", id).await?;
        }
        // All of them end together: granted anew with the short time, the keys moved over.
        for id in LEASES + ENDING + 1..=LEASES + 2 * ENDING {
            grant(&client, id, TTL_SECS).await?;
        }
        let granted = Instant::now();
        for id in LEASES + ENDING + 1..=LEASES + 2 * ENDING {
            client.put(format!("leased/{}", id - ENDING).as_bytes(), b"v", id).await?;
        }
        let ending = puts(&client, Duration::from_secs(TTL_SECS as u64 + 3)).await?;
        loop {
            let request = pb::RangeRequest {
                key: "leased/".into(),
                range_end: "leased0".into(),
                count_only: true,
                ..Default::default()
            };
            if client.range(request).await?.count == 0 {
                break;
            }
            ensure!(granted.elapsed() < Duration::from_secs(60), "leases do not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let late = granted.elapsed().as_secs_f64();
        let p99 = |times: Vec<f64>| percentile(times.into_iter(), 0.99);
        Ok([alive, p99(idle), p99(ending), late])
    })
}
