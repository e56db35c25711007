//! One writer and a thousand watchers: CPU an event, and what watchers add to a put.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kvstore_server::pb::etcdserverpb::{self as pb, watch_request::RequestUnion};
use prost::Message;
use tokio_stream::StreamExt;

use crate::client::{Client, Raw};
use crate::report::{compare, pairs, percentile};
use crate::server::{Server, Side};

const WATCHERS: usize = 1_000;
const PUTS_A_SECOND: u64 = 100;
const SECONDS: u64 = 5;

struct Taken {
    cpu_us_an_event: f64,
    p99_ms: f64,
    kilobytes: f64,
}

pub(crate) fn run() -> Result<()> {
    for (connections, cpu_aim) in [(10, 0.2), (1_000, 0.333)] {
        let (mut cpu, mut added, mut memory) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..pairs().min(5) {
            let etcd = (take(Side::Etcd, 0, 0)?, take(Side::Etcd, connections, WATCHERS)?);
            let ours = (take(Side::Ours, 0, 0)?, take(Side::Ours, connections, WATCHERS)?);
            cpu.push((etcd.1.cpu_us_an_event, ours.1.cpu_us_an_event));
            memory.push((etcd.1.kilobytes, ours.1.kilobytes));
            // Below a tenth of a millisecond nothing was added that could be measured.
            let more = |(without, with): &(Taken, Taken)| (with.p99_ms - without.p99_ms).max(0.1);
            added.push((more(&etcd), more(&ours)));
        }
        let name = format!("1,000 watchers on {connections} connections");
        compare(&format!("{name}: server CPU an event"), "us", Some(cpu_aim), &cpu)?;
        compare(&format!("{name}: added to the p99 of puts at 100/s"), "ms", Some(0.1), &added)?;
        compare(&format!("{name}: anonymous memory"), "kB a connection", None, &memory)?;
    }
    Ok(())
}

fn take(side: Side, connections: usize, watchers: usize) -> Result<Taken> {
    let server = Server::start(side)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let (empty, _) = server.memory()?;
        let seen = Arc::new(AtomicU64::new(0));
        let mut readers = tokio::task::JoinSet::new();
        for connection in 0..connections {
            let client = Client::connect(&server.url()).await?;
            for _ in 0..watchers / connections {
                let messages = watch(&client).await?;
                let seen = seen.clone();
                readers.spawn(count(messages, seen, connection));
            }
        }
        // Creations are answered before the clock runs.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (full, _) = server.memory()?;
        let before = server.cpu()?;
        let times = write(&server).await?;
        let wanted = times.len() as u64 * watchers as u64;
        let began = Instant::now();
        while seen.load(Ordering::Relaxed) < wanted {
            ensure!(
                began.elapsed() < Duration::from_secs(60),
                "{} of {wanted} events came",
                seen.load(Ordering::Relaxed)
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let cpu = server.cpu()? - before;
        Ok(Taken {
            cpu_us_an_event: cpu.as_secs_f64() * 1e6 / wanted.max(1) as f64,
            p99_ms: percentile(times.into_iter(), 0.99),
            kilobytes: (full - empty) * 1e3 / connections.max(1) as f64,
        })
    })
}

/// Puts at a fixed rate: how long each took from when it was meant to be sent, in milliseconds.
async fn write(server: &Server) -> Result<Vec<f64>> {
    let client = Client::connect(&server.url()).await?;
    let value = vec![b'v'; 256];
    let began = Instant::now();
    let mut pending = tokio::task::JoinSet::new();
    for number in 0..PUTS_A_SECOND * SECONDS {
        let meant = began + Duration::from_micros(number * 1_000_000 / PUTS_A_SECOND);
        tokio::time::sleep_until(meant.into()).await;
        let (client, value) = (client.clone(), value.clone());
        pending.spawn(async move {
            client.put(b"watched", &value, 0).await?;
            anyhow::Ok(meant.elapsed().as_secs_f64() * 1e3)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = pending.join_next().await {
        times.push(done??);
    }
    Ok(times)
}

async fn watch(client: &Client) -> Result<tonic::Streaming<Bytes>> {
    let create = pb::WatchCreateRequest { key: Bytes::from_static(b"watched"), ..Default::default() };
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests = tokio_stream::iter([Bytes::from(request.encode_to_vec())]).chain(tokio_stream::pending());
    let mut grpc = client.grpc();
    grpc.ready().await?;
    let path = http::uri::PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
    Ok(grpc.streaming(tonic::Request::new(requests), path, Raw).await?.into_inner())
}

/// Counts events by their tag: to decode them would cost more than to send them.
async fn count(mut messages: tonic::Streaming<Bytes>, seen: Arc<AtomicU64>, _connection: usize) -> Result<()> {
    let first = messages.message().await?.context("the creation is answered")?;
    ensure!(!pb::WatchResponse::decode(first)?.canceled, "the watch was cancelled");
    while let Some(message) = messages.message().await? {
        let events = pb::WatchResponse::decode(message)?.events.len();
        seen.fetch_add(events as u64, Ordering::Relaxed);
    }
    Ok(())
}
