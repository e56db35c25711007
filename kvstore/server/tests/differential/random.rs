//! Random sequences: against our store, and, to test the test, against etcd itself and against an etcd that differs.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    coverage::Coverage,
    generate,
    lies::Liar,
    lockstep::{Difference, Lockstep},
    op::Op,
    print::as_test,
    servers::{self, Kind, Server},
    shrink::shrink,
};

/// Servers are replaced after so many operations: what differs then differs in a sequence no longer than this.
const EPISODE: usize = 4_000;

/// How many operations `cargo xtask test` sends; a full run sends ten times as many.
const OPERATIONS: usize = 20_000;
const LONG: usize = 200_000;

/// Pairs of servers at a time: a sequence waits for one server or the other most of its time.
const PAIRS: usize = 2;

/// How long a difference may be made shorter.
const SHRINKING: Duration = Duration::from_secs(180);

/// How a sequence of so many operations is made from a seed.
pub(crate) type Sequence = fn(u64, usize) -> Vec<Op>;

/// One difference, with what led to it.
struct Found {
    seed: u64,
    ops: Vec<Op>,
    difference: Difference,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

pub(crate) fn operations() -> usize {
    let set = |variable| std::env::var_os(variable).is_some();
    let usual = match (set("CAUSEWAY_TEST_LONG"), set("CAUSEWAY_TEST_QUICK")) {
        (true, _) => LONG,
        (false, true) => EPISODE,
        (false, false) => OPERATIONS,
    };
    number("CAUSEWAY_DIFF_OPS").map_or(usual, |ops| usize::try_from(ops).unwrap())
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The first difference over this sequence between two fresh servers.
pub(crate) fn first_difference(
    reference: &Kind,
    subject: &Kind,
    ops: &[Op],
) -> (Option<(usize, Difference)>, Coverage) {
    let (reference, subject) = (Server::start(reference), Server::start(subject));
    block_on(async {
        let mut lockstep = Lockstep::new(reference, subject).await;
        let found = lockstep.run(ops).await;
        (found, lockstep.coverage)
    })
}

/// Runs episodes until all are done or one differs.
fn compare((reference, subject): (&Kind, &Kind), operations: usize, sequence: Sequence) -> (Coverage, Option<Found>) {
    let seed = number("CAUSEWAY_DIFF_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    println!("seed {seed} (CAUSEWAY_DIFF_SEED), {operations} operations (CAUSEWAY_DIFF_OPS)");
    let (next, coverage, found) = (AtomicUsize::new(0), Mutex::new(Coverage::default()), Mutex::new(None));
    let ended = AtomicUsize::new(0);
    let episode = || {
        let begin = next.fetch_add(1, Ordering::Relaxed) * EPISODE;
        if begin >= operations || found.lock().unwrap().is_some() {
            return false;
        }
        let seed = seed.wrapping_add((begin / EPISODE) as u64);
        let mut ops = sequence(seed, EPISODE.min(operations - begin));
        let (different, met) = first_difference(reference, subject, &ops);
        coverage.lock().unwrap().add(met);
        if let Some((index, difference)) = different {
            // What makes etcd end is a row of the listed differences; nobody is left to compare with until the next episode.
            if matches!(reference, Kind::Etcd(_)) && difference.reference.contains("transport error") {
                println!("CAUSEWAY_DIFF_SEED={seed}: etcd ended at operation {index}: {:?}", ops.get(index));
                ended.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            ops.truncate(index + 1);
            *found.lock().unwrap() = Some(Found { seed, ops, difference });
        }
        true
    };
    std::thread::scope(|scope| {
        for _ in 0..PAIRS {
            scope.spawn(|| while episode() {});
        }
    });
    assert!(ended.into_inner() <= 1 + operations / 100_000, "etcd ends more often than it does by what is known");
    (coverage.into_inner().unwrap(), found.into_inner().unwrap())
}

/// Prints the difference as a test that shows it.
fn report(reference: &Kind, subject: &Kind, found: Found) {
    let Found { seed, ops, difference } = found;
    println!("CAUSEWAY_DIFF_SEED={seed} differs at operation {}: {:?}", ops.len() - 1, ops.last());
    println!("reference: {}\nsubject:   {}", difference.reference, difference.subject);
    let mut last = difference;
    let shortest = shrink(&ops, Instant::now() + SHRINKING, |ops| {
        let (found, _) = first_difference(reference, subject, ops);
        found.map(|(_, difference)| last = difference).is_some()
    });
    println!("{} operations are enough:\n{}", shortest.len(), as_test(seed, &shortest));
    println!("reference: {}\nsubject:   {}", last.reference, last.subject);
}

/// What was met in so many operations without a difference.
pub(crate) fn equal_over(reference: &Kind, subject: &Kind, operations: usize, sequence: Sequence) -> Coverage {
    let (coverage, found) = compare((reference, subject), operations, sequence);
    if let Some(found) = found {
        report(reference, subject, found);
        panic!("the servers differ");
    }
    coverage
}

fn equal(reference: &Kind, subject: &Kind, operations: usize) {
    let started = Instant::now();
    // Some of it is never sent to the older etcd, and only ours is restarted.
    let whole = matches!((reference, subject), (Kind::Etcd(_), Kind::Causeway));
    let mut coverage = Coverage::default();
    // What is rare may be met too rarely by one seed, and not by a second.
    for operations in [operations, operations / 2] {
        coverage.add(equal_over(reference, subject, operations, generate::sequence));
        if !whole || coverage.missing().is_empty() {
            break;
        }
        println!("met too rarely so far: {:?}", coverage.missing());
    }
    println!("{} operations without a difference, {:.0} s", coverage.operations, started.elapsed().as_secs_f64());
    if std::env::var_os("CAUSEWAY_DIFF_TABLE").is_some() {
        println!("{}", coverage.table());
    }
    let missing = if whole { coverage.missing() } else { Vec::new() };
    assert_eq!(missing, Vec::<String>::new(), "pairs of (request, option, result) that were met too rarely");
}

#[test]
fn the_store_does_not_differ_from_etcd() {
    let test = "the_store_does_not_differ_from_etcd";
    let Some(etcd) = servers::reference().or_else(|| servers::older_for(test)) else { return };
    equal(&etcd, &Kind::Causeway, operations());
}

/// What is compared is not what changes by itself.
#[test]
fn etcd_does_not_differ_from_itself() {
    let Some(etcd) = servers::reference_for("etcd_does_not_differ_from_itself") else { return };
    equal(&etcd, &etcd, operations() / 10);
}

/// What stands in for 3.6 where it cannot be built is told apart by nothing that is not listed.
#[test]
fn an_older_etcd_differs_only_as_listed() {
    let test = "an_older_etcd_differs_only_as_listed";
    let (Some(etcd), Some(older)) = (servers::reference_for(test), servers::older_for(test)) else { return };
    equal(&older, &etcd, operations() / 4);
}

/// etcd 3.4 answers some requests differently: the test must find one by itself.
#[test]
fn an_older_etcd_is_told_apart_and_the_difference_shrinks() {
    let test = "an_older_etcd_is_told_apart_and_the_difference_shrinks";
    let (Some(etcd), Some(older)) = (servers::reference_for(test), servers::older_for(test)) else { return };
    let (_, found) = compare((&etcd, &older), 1_000, generate::sequence);
    let found = found.expect("a difference in 1,000 operations");
    let last = found.ops.last().cloned();
    let shortest =
        shrink(&found.ops, Instant::now() + SHRINKING, |ops| first_difference(&etcd, &older, ops).0.is_some());
    println!("{} operations of {}: {}", shortest.len(), found.ops.len(), as_test(found.seed, &shortest));
    assert!(shortest.len() <= 3 && shortest.len() <= found.ops.len(), "{last:?}");
}

/// One changed field in one answer of a thousand ends a run.
#[test]
fn a_run_against_a_server_that_seldom_lies_fails() {
    let Some(etcd) = servers::reference_for("a_run_against_a_server_that_seldom_lies_fails") else { return };
    let (reference, subject) = (Server::start(&etcd), Server::start(&etcd));
    let (found, told) = block_on(async {
        let mut lockstep = Lockstep::new(reference, subject).await;
        lockstep.liar = Some(Liar::new(3, 1_000));
        let found = lockstep.run(&generate::sequence(11, 10_000)).await;
        (found, lockstep.liar.take().expect("it is set above").told)
    });
    println!("{found:?} after {told:?}");
    assert!(found.is_some() && told.len() == 1, "{told:?}");
}

/// One changed field in one answer of so many is noticed at that answer.
#[test]
fn every_lie_is_noticed() {
    let Some(etcd) = servers::reference_for("every_lie_is_noticed") else { return };
    let (reference, subject) = (Server::start(&etcd), Server::start(&etcd));
    let (told, noticed) = block_on(async {
        let mut lockstep = Lockstep::new(reference, subject).await;
        lockstep.liar = Some(Liar::new(1, 20));
        let mut noticed = 0;
        for op in generate::sequence(7, 4_000) {
            let before = lockstep.liar.as_ref().map_or(0, |liar| liar.told.len());
            let same = lockstep.step(&op).await;
            let told = lockstep.liar.as_ref().map(|liar| liar.told[before..].to_vec()).unwrap_or_default();
            assert_eq!(same.is_err(), !told.is_empty(), "{op:?}: {told:?} and {same:?}");
            noticed += usize::from(same.is_err());
        }
        (lockstep.liar.take().expect("it is set above").told, noticed)
    });
    let mut kinds = told.clone();
    kinds.sort_unstable();
    kinds.dedup();
    println!("{} lies of {} kinds, all noticed", told.len(), kinds.len());
    assert!(noticed >= 100, "only {noticed}");
    assert!(kinds.len() >= 20, "{kinds:?}");
}
