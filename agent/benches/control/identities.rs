//! Identities a second: one worker, sixteen, and sixteen nodes that all take the same.
//!
//! Both sides on an etcd of their own, and ours on our store as well; limiters are lifted on both.

use anyhow::{Result, ensure};

use crate::content::CLUSTER;
use crate::part::{Part, Side, number};
use crate::report::{compare, line, median, pairs};
use crate::server::{Kind, Server};

/// A name, nodes, workers of each, label sets for the peer and for ours, and the aim: times the peer's rate.
struct Case {
    name: &'static str,
    nodes: u32,
    workers: u32,
    sets: [u32; 2],
    aim: f64,
}

/// The peer's take milliseconds each, ours a fraction: both are to run for seconds.
const CASES: [Case; 3] = [
    Case { name: "one worker", nodes: 1, workers: 1, sets: [1000, 4000], aim: 5.0 },
    Case { name: "16 workers", nodes: 1, workers: 16, sets: [2000, 10_000], aim: 20.0 },
    Case { name: "16 nodes that take the same 1,000", nodes: 16, workers: 1, sets: [1000, 1000], aim: 5.0 },
];
const WAYS: [(Kind, Side); 3] = [(Kind::Etcd, Side::Cilium), (Kind::Etcd, Side::Ours), (Kind::Ours, Side::Ours)];

pub(crate) fn run() -> Result<()> {
    for case in CASES {
        let mut rates = [const { Vec::new() }; 3];
        for pair in 0..pairs() {
            for turn in 0..WAYS.len() {
                let way = (pair + turn) % WAYS.len();
                rates[way].push(rate(&case, WAYS[way])?);
            }
        }
        let [peer, etcd, own] = &rates;
        for (name, ours) in [("on etcd", etcd), ("on our store", own)] {
            let times: Vec<(f64, f64)> = peer.iter().zip(ours).map(|(peer, ours)| (1e3 / peer, 1e3 / ours)).collect();
            compare(&format!("time of an identity {name}, {}", case.name), "ms", Some(1.0 / case.aim), &times)?;
        }
        for (name, rates) in ["Cilium on etcd", "ours on etcd", "ours on our store"].iter().zip(&rates) {
            line(&format!("{name}, {}", case.name), median(rates.iter().copied()), "identities/s", None);
        }
    }
    Ok(())
}

fn rate(case: &Case, (kind, side): (Kind, Side)) -> Result<f64> {
    let server = Server::start(kind)?;
    let words = match side {
        Side::Cilium => vec![
            format!("-endpoint={}", server.url),
            format!("-cluster={}", CLUSTER.0),
            format!("-id={}", CLUSTER.1),
            format!("-number={}", case.nodes),
        ],
        Side::Ours => vec![server.url.clone(), case.nodes.to_string()],
    };
    let mut part = Part::start(side, "allocate", &words)?;
    let sets = case.sets[side as usize];
    part.ask(&format!("take warm {} {}", sets / 10, case.workers))?;
    let answer = part.ask(&format!("take timed {sets} {}", case.workers))?;
    let taken = number(&answer, "taken")?;
    ensure!(taken as u32 == sets * case.nodes, "{side:?} took {taken} of {sets}");
    Ok(taken / number(&answer, "seconds")?)
}
