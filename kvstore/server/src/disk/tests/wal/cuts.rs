//! The power cut at every single change of a short life: rare moments that random rounds may miss.

use super::*;

/// Opened without a spare, a segment filled, two released (the first becomes the spare), one more begun.
fn life(fake: &FaultyFiles, options: WalOptions) -> Result<(), DiskError> {
    let (mut wal, _) = Wal::open_with(fake.shared(), Path::new(DIR), 0, options)?;
    for index in [7, 8] {
        // Small: the new segment is not half full yet, so there is no spare when segments are released.
        append(&mut wal, &[entry(index, 1, 600)]);
        wal.sync()?;
        wal.release(4)?;
    }
    append(&mut wal, &[entry(9, 1, 1000), entry(10, 1, 1000)]);
    wal.sync()
}

#[test]
fn power_may_go_at_any_moment() {
    let mut moments = 0;
    for prepare in [Prepare::Caller, Prepare::WhenNeeded] {
        for cut in 0.. {
            let options = WalOptions { prepare, ..SMALL };
            let mut whole = false;
            for seed in 0..20 {
                let fake = fake(seed);
                let mut wal = create(&fake);
                append_each(&mut wal, &(1..=6).map(|index| entry(index, 1, 1000)).collect::<Vec<_>>());
                drop(wal);
                fake.cut_power_after(cut);
                whole = life(&fake, options).is_ok();
                fake.crash();
                let (_, replay) = Wal::open_with(fake.shared(), Path::new(DIR), 4, options)
                    .unwrap_or_else(|error| panic!("{prepare:?}, cut after {cut} changes, seed {seed}: {error}"));
                let indices: Vec<_> = replay.entries.iter().map(|entry| entry.index).collect();
                assert!((5..=10).collect::<Vec<_>>().starts_with(&indices), "{indices:?}");
                assert!(indices.len() >= if whole { 6 } else { 2 }, "{indices:?}");
                moments += 1;
            }
            if whole {
                break;
            }
        }
    }
    assert!(moments > 20 * 30, "{moments}");
}
