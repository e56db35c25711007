//! Random work, crashes and restarts against a model that knows what was promised.
//!
//! After each crash the log must hold a state that the promises allow: all that was synced, and beyond it at most what
//! was handed over in the very call that the power cut, whole. With a disk that lies about syncs the same rounds must
//! fail, or they prove nothing.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::wal::{append, create, entry, fake, open};
use crate::disk::DiskError;
use crate::disk::fake::FaultyFiles;
use crate::disk::wal::{LogEntry, Vote, Wal};

/// Crashes a run survives.
const ROUNDS: usize = 600;
/// Restarts of one log before a new one begins.
const RESTARTS: usize = 20;

/// A log as raft would have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    vote: Option<Vote>,
    /// All entries, with those that were released.
    entries: Vec<LogEntry>,
}

/// What may be found after a crash.
#[derive(Debug, Clone, Default)]
struct Promise {
    synced: Model,
    /// What the sync in flight would have made of it.
    in_flight: Option<Model>,
    /// Entries up to here may be gone: a checkpoint has them.
    released: u64,
}

// === impl Model ===

impl Model {
    fn append(&mut self, entries: &[LogEntry]) {
        for entry in entries {
            self.entries.truncate(entry.index as usize - 1);
            self.entries.push(entry.clone());
        }
    }
}

/// Works until the power is cut, telling `promise` before each sync what is in flight and after it what is durable.
fn work(wal: &mut Wal, promise: &mut Promise, term: u64, dice: &mut StdRng) -> DiskError {
    loop {
        let mut next = promise.synced.clone();
        for _ in 0..dice.random_range(1..4) {
            if dice.random_bool(0.2) {
                let vote = Vote { term, vote: dice.random(), commit: promise.released };
                wal.set_vote(vote);
                next.vote = Some(vote);
                continue;
            }
            let last = next.entries.len() as u64;
            // Raft replaces what is not committed, and only that.
            let first =
                if dice.random_bool(0.1) { dice.random_range(promise.released + 1..=last + 1) } else { last + 1 };
            let sizes: &[usize] = &[0, 1, 30, 300, 500, 1500, 5000];
            let entries: Vec<_> = (first..first + dice.random_range(1..4))
                .map(|index| entry(index, term, sizes[dice.random_range(0..sizes.len())]))
                .collect();
            append(wal, &entries);
            next.append(&entries);
        }
        promise.in_flight = Some(next.clone());
        if let Err(error) = wal.sync() {
            return error;
        }
        (promise.synced, promise.in_flight) = (next, None);
        if dice.random_bool(0.1) {
            promise.released = dice.random_range(promise.released..=promise.synced.entries.len() as u64);
            if let Err(error) = wal.release(promise.released) {
                return error;
            }
        }
    }
}

/// Opens the log and compares it with the promise. Opening may be cut off by a crash too.
fn recover(fake: &FaultyFiles, promise: &mut Promise, dice: &mut StdRng) -> Result<Wal, String> {
    while dice.random_bool(0.3) {
        fake.cut_power_after(dice.random_range(0..4));
        drop(open(fake, promise.released));
        fake.crash();
    }
    let (wal, replay) = open(fake, promise.released).map_err(|error| error.to_string())?;
    let beyond = |model: &Model| model.entries.get(promise.released as usize..).unwrap_or_default().to_vec();
    let found = (replay.vote, replay.entries);
    let matches = |model: &Model| found == (model.vote, beyond(model));
    let kept = std::iter::once(&promise.synced).chain(&promise.in_flight).find(|model| matches(model)).cloned();
    let Some(kept) = kept else {
        let describe = |(vote, entries): &(Option<Vote>, Vec<LogEntry>)| {
            format!("{vote:?} {:?}", entries.iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>())
        };
        return Err(format!(
            "found {}, promised {}",
            describe(&found),
            describe(&(promise.synced.vote, beyond(&promise.synced)))
        ));
    };
    (promise.synced, promise.in_flight) = (kept, None);
    Ok(wal)
}

/// `ROUNDS` crashes, on a disk that `prepare` may have spoiled. The error names the seed.
fn run(seed: u64, prepare: impl Fn(&FaultyFiles)) -> Result<Statistics, String> {
    let mut statistics = Statistics::default();
    for log in 0..ROUNDS / RESTARTS {
        let seed = seed + log as u64;
        let mut dice = StdRng::seed_from_u64(seed);
        let fake = fake(seed);
        let mut wal = create(&fake);
        prepare(&fake);
        let mut promise = Promise::default();
        for restart in 0..RESTARTS {
            fake.cut_power_after(dice.random_range(1..120));
            work(&mut wal, &mut promise, restart as u64 + 1, &mut dice);
            drop(wal);
            let in_flight = promise.in_flight.clone();
            fake.crash();
            wal = recover(&fake, &mut promise, &mut dice)
                .map_err(|error| format!("seed {seed}, restart {restart}: {error}"))?;
            statistics.crashes += 1;
            statistics.kept_in_flight += usize::from(in_flight.as_ref() == Some(&promise.synced));
            statistics.entries += promise.synced.entries.len();
        }
    }
    Ok(statistics)
}

/// That the run went where it should.
#[derive(Debug, Default)]
struct Statistics {
    crashes: usize,
    /// Crashes after which the batch in flight was whole.
    kept_in_flight: usize,
    entries: usize,
}

#[test]
fn synced_batches_survive_every_crash_and_nothing_else_is_made_up() {
    let statistics = run(20_000, |_| {}).unwrap();
    println!("{statistics:?}");
    assert!(statistics.crashes >= ROUNDS);
    assert!(statistics.kept_in_flight > 10, "{statistics:?}");
    assert!(statistics.crashes - statistics.kept_in_flight > 10, "{statistics:?}");
    assert!(statistics.entries > 1000, "{statistics:?}");
}

#[test]
fn same_rounds_fail_on_a_disk_that_lies_about_syncs() {
    let failed =
        (0..10).filter(|run_number| run(40_000 + run_number * 1000, FaultyFiles::lie_about_syncs).is_err()).count();
    assert_eq!(failed, 10);
}
