//! Random work, crashes and restarts against a model that knows what was promised.
//!
//! After each crash the directory must hold a state that the promises allow: all that was synced, and beyond it at most
//! what was handed over in the very call that was cut off, whole. Some restarts follow a killed process or a failed sync
//! instead of a crash: what such a restart reads, later crashes may not take back. With a disk that lies about syncs the
//! same rounds must fail, or they prove nothing.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::wal::{IDENTITY, SMALL, append, entry};
use crate::disk::data_dir::Existing;
use crate::disk::fake::FaultyFiles;
use crate::disk::wal::{LogEntry, Prepare, Vote, Wal};
use crate::disk::{CheckpointWriter, DataDir, DiskError, Recovered, WalOptions};

/// Restarts of a run, unless `CAUSEWAY_DISK_ROUNDS` says otherwise.
const ROUNDS: usize = 600;
/// Restarts of one directory before a new one begins.
const RESTARTS: usize = 30;

/// A log as raft would have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    vote: Option<Vote>,
    /// All entries since the beginning, with those that only a checkpoint has.
    entries: Vec<LogEntry>,
}

/// What may be found after a restart.
#[derive(Debug, Clone, Default)]
struct Promise {
    synced: Model,
    /// What the sync that was cut off would have made of it.
    in_flight: Option<Model>,
    /// The index of the newest checkpoint.
    checkpoint: u64,
    /// The index of the one that was cut off.
    next_checkpoint: Option<u64>,
}

/// A member at work.
struct Member {
    dir: DataDir,
    wal: Wal,
}

/// That a run went where it should.
#[derive(Debug, Default)]
struct Statistics {
    restarts: usize,
    /// Restarts after which the batch in flight was whole.
    kept_in_flight: usize,
    /// Restarts that found a checkpoint.
    checkpoints: usize,
    entries: usize,
}

// === impl Model ===

impl Model {
    fn append(&mut self, entries: &[LogEntry]) {
        for entry in entries {
            self.entries.truncate(entry.index as usize - 1);
            self.entries.push(entry.clone());
        }
    }

    fn after(&self, index: u64) -> (Option<Vote>, &[LogEntry]) {
        (self.vote, self.entries.get(index as usize..).unwrap_or_default())
    }
}

// === impl Member ===

impl Member {
    /// Works until something fails, telling `promise` before each sync what is in flight and after it what is durable.
    fn work(&mut self, promise: &mut Promise, term: u64, dice: &mut StdRng) -> DiskError {
        loop {
            let mut next = promise.synced.clone();
            for _ in 0..dice.random_range(1..4) {
                self.append_something(&mut next, promise.checkpoint, term, dice);
            }
            promise.in_flight = Some(next.clone());
            if let Err(error) = self.wal.sync() {
                return error;
            }
            (promise.synced, promise.in_flight) = (next, None);
            if dice.random_bool(0.1) {
                let index = dice.random_range(promise.checkpoint..=promise.synced.entries.len() as u64);
                promise.next_checkpoint = Some(index);
                if let Err(error) = self.checkpoint(index, dice) {
                    return error;
                }
                (promise.checkpoint, promise.next_checkpoint) = (index, None);
                if let Err(error) = self.wal.release(index) {
                    return error;
                }
                if dice.random_bool(0.5) {
                    drop(self.wal.take_housekeeping_failure());
                }
            }
        }
    }

    fn append_something(&mut self, next: &mut Model, committed: u64, term: u64, dice: &mut StdRng) {
        if dice.random_bool(0.2) {
            let vote = Vote { term, vote: dice.random(), commit: committed };
            self.wal.set_vote(vote);
            next.vote = Some(vote);
            return;
        }
        let last = next.entries.len() as u64;
        // Raft replaces what is not committed, and only that.
        let first = if dice.random_bool(0.1) { dice.random_range(committed + 1..=last + 1) } else { last + 1 };
        let sizes: &[usize] = &[0, 1, 30, 300, 500, 1500, 5000];
        let entries: Vec<_> = (first..first + dice.random_range(1..4))
            .map(|index| entry(index, term, sizes[dice.random_range(0..sizes.len())]))
            .collect();
        append(&mut self.wal, &entries);
        next.append(&entries);
    }

    fn checkpoint(&self, index: u64, dice: &mut StdRng) -> Result<(), DiskError> {
        let mut writer =
            CheckpointWriter::create(self.dir.files().clone(), self.dir.checkpoints(), IDENTITY, index, 1)?;
        for frame in 0..dice.random_range(0..4u8) {
            writer.write(&vec![frame; index as usize * 10])?;
        }
        writer.finish()
    }
}

fn options(seed: u64) -> WalOptions {
    WalOptions { prepare: if seed.is_multiple_of(2) { Prepare::Caller } else { Prepare::WhenNeeded }, ..SMALL }
}

fn open(fake: &FaultyFiles, seed: u64) -> Result<(DataDir, Recovered), DiskError> {
    let dir = DataDir::open(fake.shared(), Path::new("/data"))?;
    let recovered = dir.recover(options(seed))?;
    Ok((dir, recovered))
}

/// Opens the directory and compares it with the promise. Opening may be cut off too.
fn recover(fake: &FaultyFiles, seed: u64, promise: &mut Promise, dice: &mut StdRng) -> Result<Member, String> {
    while dice.random_bool(0.3) {
        fake.cut_power_after(dice.random_range(0..8));
        drop(open(fake, seed));
        if dice.random_bool(0.5) { fake.crash() } else { fake.kill() }
    }
    let (dir, recovered) = open(fake, seed).map_err(|error| error.to_string())?;
    let Recovered::Existing(existing) = recovered else { return Err("the log is gone".into()) };
    let Existing { checkpoint, wal, replay } = *existing;
    let index = match checkpoint {
        Some(mut checkpoint) => {
            while checkpoint.next_frame().map_err(|error| error.to_string())?.is_some() {}
            checkpoint.index()
        }
        None => 0,
    };
    if index != promise.checkpoint && Some(index) != promise.next_checkpoint {
        return Err(format!(
            "found checkpoint {index}, promised {} or {:?}",
            promise.checkpoint, promise.next_checkpoint
        ));
    }
    let found = (replay.vote, replay.entries.as_slice());
    let mut allowed = std::iter::once(&promise.synced).chain(&promise.in_flight);
    let Some(kept) = allowed.find(|model| model.after(index) == found).cloned() else {
        let describe = |(vote, entries): (Option<Vote>, &[LogEntry])| {
            format!("{vote:?} {:?}", entries.iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>())
        };
        return Err(format!("found {}, promised {}", describe(found), describe(promise.synced.after(index))));
    };
    *promise = Promise { synced: kept, in_flight: None, checkpoint: index, next_checkpoint: None };
    Ok(Member { dir, wal })
}

fn setting(key: &str) -> Option<usize> {
    std::env::var(key).ok().map(|value| value.parse().expect("a number"))
}

/// So many restarts, on a disk that `prepare` may have spoiled. The error says how to repeat it.
fn run(seed: u64, rounds: usize, prepare: impl Fn(&FaultyFiles)) -> Result<Statistics, String> {
    let mut statistics = Statistics::default();
    for seed in seed..seed + rounds.div_ceil(RESTARTS) as u64 {
        let mut dice = StdRng::seed_from_u64(seed);
        let fake = FaultyFiles::new(seed);
        let (dir, _) = open(&fake, seed).map_err(|error| error.to_string())?;
        let wal = dir.create_wal(IDENTITY, options(seed)).map_err(|error| error.to_string())?;
        let mut member = Member { dir, wal };
        prepare(&fake);
        let mut promise = Promise::default();
        for restart in 0..RESTARTS {
            fake.cut_power_after(dice.random_range(1..150));
            if dice.random_bool(0.2) {
                fake.fail_sync_after(dice.random_range(0..40));
            }
            member.work(&mut promise, restart as u64 + 1, &mut dice);
            drop(member);
            let before = promise.clone();
            if dice.random_bool(0.7) {
                fake.crash()
            } else {
                fake.kill()
            }
            member = recover(&fake, seed, &mut promise, &mut dice)
                .map_err(|error| format!("restart {restart}: {error}; repeat with CAUSEWAY_DISK_SEED={seed}"))?;
            statistics.restarts += 1;
            statistics.kept_in_flight += usize::from(before.in_flight.as_ref() == Some(&promise.synced));
            statistics.checkpoints += usize::from(promise.checkpoint > 0);
            statistics.entries += promise.synced.entries.len();
        }
    }
    Ok(statistics)
}

#[test]
fn synced_batches_survive_every_crash_and_nothing_else_is_made_up() {
    let rounds = setting("CAUSEWAY_DISK_ROUNDS").unwrap_or(ROUNDS);
    let seed = setting("CAUSEWAY_DISK_SEED").unwrap_or(20_000);
    let statistics = run(seed as u64, rounds, |_| {}).unwrap();
    println!("{statistics:?}");
    assert!(statistics.restarts >= rounds);
    assert!(statistics.kept_in_flight > 20, "{statistics:?}");
    assert!(statistics.restarts - statistics.kept_in_flight > 20, "{statistics:?}");
    assert!(statistics.checkpoints > 100, "{statistics:?}");
    assert!(statistics.entries > 10_000, "{statistics:?}");
}

#[test]
fn same_rounds_fail_on_a_disk_that_lies_about_syncs() {
    let failed =
        (0..10).filter(|number| run(40_000 + number * 1000, ROUNDS, FaultyFiles::lie_about_syncs).is_err()).count();
    assert_eq!(failed, 10);
}
