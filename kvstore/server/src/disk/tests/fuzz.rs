//! Mutations of valid files: whatever a disk or a person made of them, reading ends, with frames or a refusal.
//!
//! Time-boxed by `CAUSEWAY_FUZZ_SECONDS` (3 unless told); each run begins with a new seed, which it prints, and
//! `CAUSEWAY_FUZZ_SEED` repeats one. Checksums are repaired in a part of the mutations, or nothing behind them would ever
//! be reached.

mod mutation;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::snapshot::snapshot;
use super::wal;
use crate::disk::fake::FaultyFiles;
use crate::disk::{Checkpoint, CheckpointWriter, SnapshotReader};
use mutation::{mutate, reseal_batches, reseal_header, reseal_sha256};

/// A file that is read: whether something came of it.
type Target<'a> = &'a dyn Fn(&[u8]) -> bool;

/// Feeds mutations of `valid` to `target` until the time is up.
fn fuzz(name: &str, valid: &[u8], reseal: &dyn Fn(&mut Vec<u8>, &mut StdRng), target: Target<'_>) {
    let setting = |key: &str| std::env::var(key).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seconds = setting("CAUSEWAY_FUZZ_SECONDS").unwrap_or(3);
    let seed = setting("CAUSEWAY_FUZZ_SEED").unwrap_or_else(rand::random);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut executions, mut accepted) = (0_u64, 0_u64);
    assert!(target(valid), "the file that is mutated is not valid itself");
    while Instant::now() < end {
        let mut dice = StdRng::seed_from_u64(seed.wrapping_add(executions));
        let mut bytes = valid.to_vec();
        mutate(&mut bytes, &mut dice);
        if dice.random_bool(0.7) {
            reseal(&mut bytes, &mut dice);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
        accepted += u64::from(outcome.unwrap_or_else(|_| {
            panic!(
                "{name}: execution {executions} of seed {seed} panicked: CAUSEWAY_FUZZ_SEED={}",
                seed.wrapping_add(executions)
            )
        }));
        executions += 1;
    }
    println!("fuzz {name}: {executions} executions in {seconds} s from seed {seed}, {accepted} accepted, 0 panics");
    assert!(executions > 100, "{name}: only {executions} executions");
}

#[test]
fn mutated_log_is_read_or_refused() {
    let fake = wal::fake(1);
    let mut log = wal::create(&fake);
    wal::append_each(&mut log, &[wal::entry(1, 1, 100), wal::entry(2, 1, 1300), wal::entry(3, 2, 700)]);
    drop(log);
    let valid = fake.bytes(&wal::segment(1));
    fuzz("wal", &valid, &reseal_batches, &|bytes| {
        let fake = wal::fake(1);
        let path = wal::segment(1);
        fake.shared().open(&path, crate::disk::files::Mode::CreateNew).unwrap();
        fake.edit(&path, |file| *file = bytes.to_vec());
        let opened = wal::open(&fake, 0);
        if let Ok((_, replay)) = &opened {
            // Whatever was accepted is accepted again, and the same.
            let again = wal::open(&fake, 0).unwrap().1;
            assert_eq!((&again.entries, again.vote, again.truncated), (&replay.entries, replay.vote, None));
        }
        opened.is_ok()
    });
}

#[test]
fn mutated_checkpoint_is_read_or_refused() {
    let dir = Path::new("/");
    let fake = FaultyFiles::new(1);
    let mut writer = CheckpointWriter::create(fake.shared(), dir, wal::IDENTITY, 30, 4).unwrap();
    for frame in [b"first".as_slice(), b"", &[7; 600]] {
        writer.write(frame).unwrap();
    }
    writer.finish().unwrap();
    let path = Path::new("/000000000000001e.checkpoint");
    let valid = fake.bytes(path);
    fuzz("checkpoint", &valid, &|bytes, _| reseal_header(bytes), &|bytes| {
        fake.edit(path, |file| *file = bytes.to_vec());
        let Ok(Some(mut checkpoint)) = Checkpoint::latest(&fake.shared(), dir) else { return false };
        loop {
            match checkpoint.next_frame() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    });
}

#[test]
fn mutated_snapshot_is_read_or_refused() {
    let valid = snapshot(&[b"first".to_vec(), vec![], vec![7; 600]]);
    fuzz("snapshot", &valid, &reseal_sha256, &|bytes| {
        let Ok(mut reader) = SnapshotReader::verified(Cursor::new(bytes), Path::new("saved.db")) else { return false };
        // What was verified reads to its end.
        while reader.next_frame().unwrap().is_some() {}
        true
    });
}
