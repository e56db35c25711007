//! One request, many times: puts, linearizable reads, transactions that create a key or find it there.

use anyhow::Result;
use bytes::Bytes;
use kvstore_server::pb::etcdserverpb::{self as pb, compare, request_op::Request};
use prost::Message;

use crate::client::put;
use crate::echo::Echo;
use crate::h2load::{self, Load, Shape};
use crate::report::{compare as report, line, median, pairs};
use crate::server::{PAIR, Server, Side};

const MANY: Shape = Shape { connections: 10, streams: 100, requests: 100_000, rate: 0 };
const SPREAD: Shape = Shape { connections: 100, streams: 10, requests: 100_000, rate: 0 };
const ONE: Shape = Shape { connections: 1, streams: 1, requests: 3_000, rate: 0 };
/// Below what either side can take on this machine.
const OFFERED: Shape = Shape { connections: 10, streams: 100, requests: 60_000, rate: 12_000 };

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";

/// CPU of the server for one request in microseconds, and what the client saw.
struct Cost {
    cpu_us: f64,
    load: Load,
}

fn value() -> Vec<u8> {
    vec![b'v'; 256]
}

fn key() -> [u8; 32] {
    [b'k'; 32]
}

fn cost(side: Side, path: &str, message: &impl Message, shape: Shape) -> Result<Cost> {
    let server = Server::start(side)?;
    h2load::run(server.port, PUT, &put(&key(), &value(), 0), ONE)?;
    let before = server.cpu()?;
    let load = h2load::run(server.port, path, message, shape)?;
    let cpu = server.cpu()? - before;
    Ok(Cost { cpu_us: cpu.as_secs_f64() * 1e6 / f64::from(shape.requests), load })
}

/// What the stack alone costs in this shape, in microseconds.
fn echo(message: &impl Message, shape: Shape) -> Result<f64> {
    let echo = Echo::start()?;
    let before = echo.cpu()?;
    h2load::run(echo.port, PUT, message, shape)?;
    Ok((echo.cpu()? - before).as_secs_f64() * 1e6 / f64::from(shape.requests))
}

fn alternate(path: &str, message: &impl Message, shape: Shape) -> Result<Vec<(Cost, Cost)>> {
    let mut all = Vec::new();
    for round in 0..pairs() {
        let order = if round % 2 == 0 { PAIR } else { [Side::Ours, Side::Etcd] };
        let first = cost(order[0], path, message, shape)?;
        let second = cost(order[1], path, message, shape)?;
        all.push(if round % 2 == 0 { (first, second) } else { (second, first) });
    }
    Ok(all)
}

fn both(pairs: &[(Cost, Cost)], what: impl Fn(&Cost) -> f64) -> Vec<(f64, f64)> {
    pairs.iter().map(|(etcd, ours)| (what(etcd), what(ours))).collect()
}

/// Cost, rate, and what is above the stack's own cost.
fn throughput(name: &str, path: &str, message: &impl Message, shape: Shape, cpu_aim: f64, above: f64) -> Result<()> {
    let alone = echo(message, shape)?;
    let taken = alternate(path, message, shape)?;
    report(&format!("{name}: server CPU a request"), "us", Some(cpu_aim), &both(&taken, |cost| cost.cpu_us))?;
    report(&format!("{name}: requests a second"), "/s", None, &both(&taken, |cost| cost.load.rate))?;
    let ours = median(taken.iter().map(|(_, ours)| ours.cpu_us));
    line(
        &format!("{name}: CPU above the echo server of the same stack ({alone:.2} us)"),
        ours - alone,
        "us",
        Some(above),
    );
    Ok(())
}

pub(crate) fn puts() -> Result<()> {
    let message = put(&key(), &value(), 0);
    throughput("put, 10 connections x 100 streams", PUT, &message, MANY, 0.333, 6.0)?;
    let offered = alternate(PUT, &message, OFFERED)?;
    report("put at 12,000/s offered: p99", "ms", Some(0.5), &both(&offered, |cost| cost.load.p99_ms))
}

pub(crate) fn single() -> Result<()> {
    let taken = alternate(PUT, &put(&key(), &value(), 0), ONE)?;
    report("put, one client: p50", "ms", Some(0.6), &both(&taken, |cost| cost.load.p50_ms))
}

pub(crate) fn ranges() -> Result<()> {
    let message = pb::RangeRequest { key: Bytes::copy_from_slice(&key()), ..Default::default() };
    throughput("linearizable range, 10 x 100", RANGE, &message, MANY, 0.333, 4.0)?;
    throughput("linearizable range, 100 x 10", RANGE, &message, SPREAD, 0.4, 4.0)
}

pub(crate) fn creates() -> Result<()> {
    let compare = pb::Compare {
        target: compare::CompareTarget::Create as i32,
        key: Bytes::copy_from_slice(&key()),
        target_union: Some(compare::TargetUnion::CreateRevision(0)),
        ..Default::default()
    };
    let create = pb::RequestOp { request: Some(Request::RequestPut(put(&key(), &value(), 0))) };
    let message = pb::TxnRequest { compare: vec![compare], success: vec![create], failure: Vec::new() };
    throughput("create-only txn that finds the key, 10 x 100", TXN, &message, MANY, 0.333, 4.0)?;
    throughput("create-only txn that finds the key, 100 x 10", TXN, &message, SPREAD, 0.4, 4.0)
}
