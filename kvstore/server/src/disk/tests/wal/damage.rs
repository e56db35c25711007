//! Torn or damaged, case by case.

use super::*;
use crate::disk::files::SECTOR;

/// A log of one segment with entries 1 to 3 in a batch each: one sector, three sectors, two sectors; and where they begin.
fn three_batches() -> (FaultyFiles, [usize; 4]) {
    let fake = fake(1);
    let mut wal = create(&fake);
    append_each(&mut wal, &[entry(1, 1, 100), entry(2, 1, 1300), entry(3, 1, 700)]);
    (fake, [1, 2, 5, 7].map(|sector| sector * SECTOR))
}

/// Edits the segment and says what opening it makes of that: `n entries`, `n entries, torn at sector s`, or the refusal.
fn check(edit: impl FnOnce(&mut Vec<u8>), expected: &str) {
    let (fake, _) = three_batches();
    fake.edit(&segment(1), edit);
    let found = match open(&fake, 0) {
        Ok((_, Replay { entries, truncated: None, .. })) => format!("{} entries", entries.len()),
        Ok((_, Replay { entries, truncated: Some((_, offset)), .. })) => {
            format!("{} entries, torn at sector {}", entries.len(), offset / SECTOR as u64)
        }
        Err(DiskError::Damaged { offset, what, path }) => {
            assert_eq!(path, segment(1));
            format!("damaged in sector {}: {what}", offset / SECTOR as u64)
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected);
    if expected.contains(", torn at") {
        // What was torn is gone, and the log goes on as if it had never been.
        let (mut wal, replay) = open(&fake, 0).unwrap();
        assert_eq!(replay.truncated, None);
        let next = replay.entries.len() as u64 + 1;
        append_each(&mut wal, &[entry(next, 2, 50)]);
        drop(wal);
        assert_eq!(open(&fake, 0).unwrap().1.entries.last(), Some(&entry(next, 2, 50)));
    }
}

fn zero(bytes: &mut [u8], sectors: std::ops::Range<usize>) {
    bytes[sectors.start * SECTOR..sectors.end * SECTOR].fill(0);
}

#[test]
fn sectors_that_a_lost_sync_left_out_of_the_last_batch_are_a_torn_end() {
    check(|_| {}, "3 entries");
    check(|bytes| zero(bytes, 5..7), "2 entries");
    check(|bytes| zero(bytes, 5..6), "2 entries, torn at sector 5");
    check(|bytes| zero(bytes, 6..7), "2 entries, torn at sector 5");
}

#[test]
fn missing_sectors_before_the_last_batch_are_damage() {
    let synced =
        "damaged in sector 2: batch 2 has no valid header, and something lies behind it, so it had been synced";
    check(|bytes| zero(bytes, 2..5), synced);
    check(|bytes| zero(bytes, 2..3), synced);
    let synced = "damaged in sector 2: batch 2 holds a record that does not match its checksum, and something lies behind \
                  it, so it had been synced";
    check(|bytes| zero(bytes, 3..4), synced);
    check(|bytes| zero(bytes, 4..5), synced);
    let synced =
        "damaged in sector 1: batch 1 has no valid header, and something lies behind it, so it had been synced";
    check(|bytes| zero(bytes, 1..2), synced);
    check(|bytes| zero(bytes, 1..5), synced);
}

#[test]
fn flipped_bit_in_the_last_batch_is_damage_and_not_a_torn_end() {
    let (_, [_, _, last, _]) = three_batches();
    let header = "damaged in sector 5: batch 3 has no valid header, and no sector of it is missing, so it is not torn";
    let record = "damaged in sector 5: batch 3 holds a record that does not match its checksum, and no sector of it is \
                  missing, so it is not torn";
    for offset in [0, 5, 9, 17, 20] {
        check(|bytes| bytes[last + offset] ^= 1, header);
    }
    for offset in [24, 28, 32, 33, 40, 100, 600] {
        check(|bytes| bytes[last + offset] ^= 1, record);
    }
    // Behind the record, up to the sector.
    let padding = "damaged in sector 5: batch 3 is not followed by zeros up to the sector, and no sector of it is missing, \
                   so it is not torn";
    check(|bytes| bytes[last + 1000] ^= 1, padding);
}

#[test]
fn anything_behind_the_end_is_damage() {
    let text = "damaged in sector 7: batch 4 has no valid header, and no sector of it is missing, so it is not torn";
    check(|bytes| bytes[7 * SECTOR + 100] = 1, text);
    // A batch of another place is not one of this place.
    check(
        |bytes| bytes.copy_within(SECTOR..2 * SECTOR, 7 * SECTOR),
        "damaged in sector 7: batch 4 is not the one that lies here, and no sector of it is missing, so it is not torn",
    );
}

#[test]
fn header_that_does_not_hold_is_refused() {
    check(|bytes| bytes[0] ^= 1, "damaged in sector 0: it does not begin as a segment of the log does");
    for offset in [8, 12, 16, 40, 48, 300] {
        check(|bytes| bytes[offset] ^= 1, "damaged in sector 0: the checksum of the segment header does not match");
    }
    check(
        |bytes| {
            bytes[8] = 2;
            let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..SECTOR]);
            bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        },
        "/wal/0000000000000001.wal has format version 2, and this release reads version 1: start the release that wrote it, \
         or a newer one",
    );
}

#[test]
fn file_of_another_length_is_refused() {
    check(
        |bytes| bytes.truncate(7 * SECTOR),
        "damaged in sector 7: the file is 3584 bytes long and its header says 4096",
    );
    check(|bytes| bytes.push(0), "damaged in sector 8: the file is 4097 bytes long and its header says 4096");
    check(|bytes| bytes.truncate(100), "damaged in sector 0: the segment ends within its header");
    check(Vec::clear, "damaged in sector 0: the segment ends within its header");
}

#[test]
fn every_single_flipped_bit_is_refused() {
    let (fake, [_, _, _, end]) = three_batches();
    for at in 0..end * 8 {
        fake.flip_bit(&segment(1), at as u64 / 8, (at % 8) as u8);
        assert!(open(&fake, 0).is_err(), "bit {at}");
        fake.flip_bit(&segment(1), at as u64 / 8, (at % 8) as u8);
    }
    assert_eq!(open(&fake, 0).unwrap().1.entries.len(), 3);
}

/// A log of several segments.
fn many_segments(cluster_id: u64) -> FaultyFiles {
    let fake = fake(1);
    let identity = Identity { cluster_id, ..IDENTITY };
    let mut wal = Wal::create(fake.shared(), Path::new(DIR), identity, SMALL).unwrap();
    append_each(&mut wal, &(1..=12).map(|index| entry(index, 1, 1000)).collect::<Vec<_>>());
    assert_eq!(wal.segments(), 6);
    fake
}

#[test]
fn end_that_is_missing_before_the_last_segment_is_damage() {
    let fake = many_segments(1);
    // The last batch of the third segment: 1 sector of header, then two batches of three sectors.
    fake.edit(&segment(3), |bytes| zero(bytes, 4..7));
    let refusal = open(&fake, 0).unwrap_err().to_string();
    assert!(
        refusal.starts_with("/wal/0000000000000003.wal is damaged at offset 2048: batch 6 has no valid header"),
        "{refusal}"
    );
}

#[test]
fn segment_that_is_missing_renamed_or_of_another_cluster_is_refused() {
    let refusal = |spoil: &dyn Fn(&SharedFiles, &FaultyFiles)| {
        let fake = many_segments(1);
        spoil(&fake.shared(), &fake);
        open(&fake, 0).unwrap_err().to_string()
    };
    let missing = refusal(&|files, _| files.remove(&segment(3)).unwrap());
    assert!(
        missing.starts_with("/wal/0000000000000004.wal is damaged at offset 0: the segment before it is missing"),
        "{missing}"
    );
    let first = refusal(&|files, _| files.remove(&segment(1)).unwrap());
    assert!(first.contains("entry 3 follows entry 0: those between are missing"), "{first}");
    let renamed = refusal(&|files, _| files.rename(&segment(6), &segment(7)).unwrap());
    assert!(renamed.contains("its header says that it is segment 6: it was renamed"), "{renamed}");
    let foreign = refusal(&|_, fake| {
        let other = many_segments(2).bytes(&segment(6));
        fake.edit(&segment(6), |bytes| *bytes = other);
    });
    assert!(
        foreign.contains("belongs to cluster 2, member 3e, but /wal/0000000000000005.wal belongs to cluster 1"),
        "{foreign}"
    );
    // Of the same member, in the same place, and yet another log: another salt and another history.
    let twin = refusal(&|_, fake| {
        let other = many_segments(1).bytes(&segment(4));
        fake.edit(&segment(4), |bytes| bytes[SECTOR..].copy_from_slice(&other[SECTOR..]));
    });
    assert!(
        twin.starts_with("/wal/0000000000000004.wal is damaged at offset 512: batch 7 has no valid header"),
        "{twin}"
    );
}
