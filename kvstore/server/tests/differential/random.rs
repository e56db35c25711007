//! Random sequences: against our store, and, to test the test, against etcd itself and against an etcd that differs.

use std::time::Instant;

use crate::{
    coverage::Coverage,
    generate,
    lies::Liar,
    lockstep::{Difference, Lockstep},
    op::Op,
    servers::{self, Kind, Server},
};

/// Servers are replaced after so many operations: what differs then differs in a sequence no longer than this.
const EPISODE: usize = 4_000;

/// How many operations `cargo xtask test` sends.
const OPERATIONS: usize = 20_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The first difference over this sequence between two fresh servers.
fn first_difference(reference: &Kind, subject: &Kind, ops: &[Op]) -> (Option<(usize, Difference)>, Coverage) {
    let (reference, subject) = (Server::start(reference), Server::start(subject));
    block_on(async {
        let mut lockstep = Lockstep::new(&reference.url, &subject.url).await;
        let found = lockstep.run(ops).await;
        (found, lockstep.coverage)
    })
}

fn compare(reference: &Kind, subject: &Kind, operations: usize) -> Coverage {
    let seed = number("CAUSEWAY_DIFF_SEED").unwrap_or_else(rand::random::<u64>);
    let started = Instant::now();
    println!("seed {seed} (CAUSEWAY_DIFF_SEED), {operations} operations (CAUSEWAY_DIFF_OPS)");
    let mut coverage = Coverage::default();
    let episodes = operations.div_ceil(EPISODE);
    for episode in 0..episodes {
        let seed = seed.wrapping_add(episode as u64);
        let ops = generate::sequence(seed, EPISODE.min(operations - episode * EPISODE));
        let (found, met) = first_difference(reference, subject, &ops);
        coverage.add(met);
        if let Some((index, difference)) = found {
            println!("operation {index} of episode {episode}, seed {seed}: {:?}", ops.get(index));
            println!("reference: {}\nsubject:   {}", difference.reference, difference.subject);
            panic!("a difference");
        }
    }
    println!("{} operations without a difference in {:.0} s", coverage.operations, started.elapsed().as_secs_f64());
    coverage
}

#[test]
fn etcd_does_not_differ_from_itself() {
    let Some(etcd) = servers::reference_for("etcd_does_not_differ_from_itself") else { return };
    let operations = number("CAUSEWAY_DIFF_OPS").map_or(OPERATIONS, |ops| usize::try_from(ops).unwrap());
    let coverage = compare(&etcd, &etcd, operations);
    println!("{}", coverage.table());
    assert_eq!(coverage.missing(), Vec::<String>::new());
    let _ = Liar::new(0, 1);
}
