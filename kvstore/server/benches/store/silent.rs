//! Ten thousand connections that say nothing: what they cost, and what they do to one who asks.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::put;
use crate::h2load::{self, Shape};
use crate::report::compare;
use crate::server::{Server, Side};

const SILENT: usize = 10_000;
const ONE: Shape = Shape { connections: 1, streams: 1, requests: 2_000, rate: 0 };

pub(crate) fn run() -> Result<()> {
    let (etcd, ours) = (take(Side::Etcd)?, take(Side::Ours)?);
    compare("10,000 silent connections: anonymous memory", "MB", None, &[(etcd[0], ours[0])])?;
    compare("put beside 10,000 silent connections: p50", "ms", None, &[(etcd[1], ours[1])])?;
    compare("put beside 10,000 silent connections: p99", "ms", None, &[(etcd[2], ours[2])])?;
    compare("put before they came: p99", "ms", None, &[(etcd[3], ours[3])])
}

fn take(side: Side) -> Result<[f64; 4]> {
    let server = Server::start(side)?;
    let message = put(&[b'k'; 32], &[b'v'; 256], 0);
    let before = h2load::run(server.port, "/etcdserverpb.KV/Put", &message, ONE)?;
    let (empty, _) = server.memory()?;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        let stream = TcpStream::connect(("127.0.0.1", server.port));
        silent.push(stream.context("connect once more: does `ulimit -n` allow 20,000 files?")?);
    }
    std::thread::sleep(Duration::from_secs(1));
    let (full, _) = server.memory()?;
    let beside = h2load::run(server.port, "/etcdserverpb.KV/Put", &message, ONE)?;
    drop(silent);
    // Below a tenth of a megabyte nothing was taken that could be measured.
    Ok([(full - empty).max(0.1), beside.p50_ms, beside.p99_ms, before.p99_ms])
}
