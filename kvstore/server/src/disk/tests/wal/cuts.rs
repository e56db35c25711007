//! The power cut at every single change of a short life: rare moments that random rounds may miss.

use super::*;

/// Opened without a spare, a segment filled, two released (the first becomes the spare), one more begun.
fn life(fake: &FaultyFiles, options: WalOptions) -> Result<(), DiskError> {
    let (mut wal, _) = Wal::open_with(fake.shared(), Path::new(DIR), 0, options)?;
    // Small: the new segment is not half full yet, so there is no spare when segments are released.
    append(&mut wal, &[entry(7, 1, 600)]);
    wal.sync()?;
    wal.release(4)?;
    append(&mut wal, &[entry(8, 1, 600)]);
    wal.sync()?;
    append(&mut wal, &[entry(9, 1, 1000), entry(10, 1, 1000)]);
    wal.sync()
}

/// Cuts that life after each change in turn, with the given sync failing on the way; returns how many lives it took.
fn cut_everywhere(prepare: Prepare, failing_sync: Option<u64>, seeds: u64) -> u64 {
    let options = WalOptions { prepare, ..SMALL };
    for cut in 0.. {
        let mut ended = false;
        for seed in 0..seeds {
            let fake = fake(seed);
            let mut wal = create(&fake);
            append_each(&mut wal, &(1..=6).map(|index| entry(index, 1, 1000)).collect::<Vec<_>>());
            drop(wal);
            fake.cut_power_after(cut);
            if let Some(good) = failing_sync {
                fake.fail_sync_after(good);
            }
            let lived = life(&fake, options);
            // Either all of it was done, or something else than the power ended it.
            ended = fake.shared().list(Path::new(DIR)).is_ok();
            fake.crash();
            let (_, replay) = Wal::open_with(fake.shared(), Path::new(DIR), 4, options).unwrap_or_else(|error| {
                panic!("{prepare:?}, sync {failing_sync:?} fails, cut after {cut} changes, seed {seed}: {error}")
            });
            let indices: Vec<_> = replay.entries.iter().map(|entry| entry.index).collect();
            assert!((5..=10).collect::<Vec<_>>().starts_with(&indices), "{indices:?}");
            assert!(indices.len() >= if lived.is_ok() { 6 } else { 2 }, "{indices:?}");
        }
        if ended {
            return (cut + 1) * seeds;
        }
    }
    0
}

#[test]
fn power_may_go_at_any_moment() {
    let lives = cut_everywhere(Prepare::Caller, None, 20) + cut_everywhere(Prepare::WhenNeeded, None, 20);
    assert!(lives > 20 * 30, "{lives}");
}

/// A released segment was renamed to become the next one, the sync of that name failed, and the roll that came next wrote
/// zeros over it: when the power went, it had its old name again, and the log began with zeros.
#[test]
fn power_may_go_at_any_moment_after_a_failed_sync() {
    let lives: u64 = (0..16).map(|failing| cut_everywhere(Prepare::Caller, Some(failing), 6)).sum();
    assert!(lives > 1000, "{lives}");
}
