//! An agent's cold start in a cluster with half a million endpoints: list, decode, table, kernel.
//!
//! One etcd serves all. Each stage is a process of its own that goes that far, so a stage costs what its process used more
//! CPU than the one before; transfer is the process that drops what it lists.

use anyhow::{Context, Result, ensure};

use crate::content::{Size, fill};
use crate::part::{Part, Side, number};
use crate::report::{compare, line, median, pairs};
use crate::server::{Kind, Server, client};

const SIZE: Size = Size { ips: 500_000, nodes: 25_000, identities: 25_000 };
/// Keys of a page where both are to have the same.
const PAGE: u32 = 20_000;
/// As each side names its stages, beside each other.
const STAGES: [[&str; 4]; 2] = [["list", "decode", "table", "map"], ["list", "table", "merge", "map"]];
/// The whole way with each side's own pages: the peer's list takes minutes.
const DEFAULT_PAIRS: usize = 3;

/// What a process has cost when the kernel, or its stage, had everything.
#[derive(Debug, Clone, Copy)]
struct Cost {
    seconds: f64,
    cpu: f64,
    /// Anonymous memory a while later, and at the most, in megabytes.
    memory: (f64, f64),
}

pub(crate) fn run() -> Result<()> {
    let server = Server::start(Kind::Etcd)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { fill(&*client(&server.url, 0).await?, SIZE).await }).context("fill the store")?;
    eprintln!("{SIZE:?} are in etcd");
    let (mut after, mut whole, mut memory, mut peak) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut stages: [[Vec<f64>; 4]; 2] = Default::default();
    for pair in 0..pairs() {
        let mut costs = [[None; 4]; 2];
        // Stage by stage, so that neighbours are of the same minute.
        for at in 0..4 {
            for side in order(pair) {
                costs[side as usize][at] = Some(cost(&server, side, STAGES[side as usize][at], PAGE)?);
            }
        }
        let [Some(peer), Some(ours)] = costs.map(|side| side.into_iter().collect::<Option<Vec<Cost>>>()) else {
            anyhow::bail!("a stage was left out");
        };
        for (into, side) in stages.iter_mut().zip([&peer, &ours]) {
            for (at, into) in into.iter_mut().enumerate() {
                into.push(side[at].cpu - at.checked_sub(1).map_or(0.0, |before| side[before].cpu));
            }
        }
        after.push((peer[3].cpu - peer[0].cpu, ours[3].cpu - ours[0].cpu));
        whole.push((peer[3].seconds, ours[3].seconds));
        memory.push((peer[3].memory.0, ours[3].memory.0));
        peak.push((peer[3].memory.1, ours[3].memory.1));
    }
    for (side, stages) in ["Cilium", "ours"].iter().zip(&stages) {
        for (stage, cpu) in STAGES[usize::from(*side == "ours")].iter().zip(stages) {
            line(&format!("{side}, CPU of stage {stage}"), median(cpu.iter().copied()), "s", None);
        }
    }
    compare("CPU of the stages after transfer, pages of 20,000", "s", Some(0.25), &after)?;
    compare("from the start to the last row in the kernel, pages of 20,000", "s", None, &whole)?;
    compare("anonymous memory when all is there", "MB", Some(1.0 / 3.0), &memory)?;
    compare("anonymous memory at the most", "MB", None, &peak)?;
    let mut default = Vec::new();
    for pair in 0..pairs().min(DEFAULT_PAIRS) {
        let mut seconds = [0.0; 2];
        for side in order(pair) {
            seconds[side as usize] = cost(&server, side, "map", 0)?.seconds;
        }
        default.push((seconds[0], seconds[1]));
    }
    compare("from the start to the last row in the kernel, each with its own pages", "s", Some(0.1), &default)
}

/// Peer first, ours first, in turns.
fn order(pair: usize) -> [Side; 2] {
    if pair.is_multiple_of(2) { [Side::Cilium, Side::Ours] } else { [Side::Ours, Side::Cilium] }
}

fn cost(server: &Server, side: Side, stage: &str, page: u32) -> Result<Cost> {
    let mut part = read(server, side, stage, page)?;
    let found = |field: &str| number(&part.began, field);
    for (field, least) in [("ips", SIZE.ips), ("nodes", SIZE.nodes), ("identities", SIZE.identities)] {
        ensure!(found(field)? as u64 >= least, "{side:?} has {} {field} of {least}", found(field)?);
    }
    let (seconds, cpu) = (found("seconds")?, found("cpu")?);
    // What is only needed for the list is given back by then.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let later = part.ask("costs")?;
    let megabytes = |field: &str| Ok::<_, anyhow::Error>(number(&later, field)? / 1e6);
    let cost = Cost { seconds, cpu, memory: (megabytes("anon")?, megabytes("peak")?) };
    eprintln!("{side:?} {stage} page {page}: {cost:.2?}");
    if side == Side::Ours {
        part.ask("leave")?;
    }
    Ok(cost)
}

/// A reader that has everything.
pub(crate) fn read(server: &Server, side: Side, stage: &str, page: u32) -> Result<Part> {
    let words = match side {
        Side::Cilium => vec![
            format!("-endpoint={}", server.url),
            "-cluster=west".to_owned(),
            "-id=2".to_owned(),
            format!("-stage={stage}"),
            format!("-page={page}"),
        ],
        Side::Ours => vec![server.url.clone(), stage.to_owned(), page.to_string()],
    };
    Part::start(side, "read", &words)
}
