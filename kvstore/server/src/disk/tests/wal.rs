//! The log: what is read back, what is torn, and what is refused, by file and offset.

mod cuts;
mod damage;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use crate::disk::fake::FaultyFiles;
use crate::disk::files::{RealFiles, SharedFiles};
use crate::disk::wal::{LogEntry, Prepare, Replay, Vote, Wal, WalOptions};
use crate::disk::{DiskError, Identity};

pub(super) const IDENTITY: Identity = Identity { cluster_id: 0xC1, member_id: 0x3E };
pub(super) const DIR: &str = "/wal";
/// Eight sectors: rolling is the rule, not the exception.
pub(super) const SMALL: WalOptions = WalOptions { segment_bytes: 4096, prepare: Prepare::WhenNeeded, sync: true };

/// An empty fake with a directory for a log.
pub(super) fn fake(seed: u64) -> FaultyFiles {
    let fake = FaultyFiles::new(seed);
    fake.shared().create_dir(Path::new(DIR)).unwrap();
    fake.shared().sync_dir(Path::new("/")).unwrap();
    fake
}

pub(super) fn create(fake: &FaultyFiles) -> Wal {
    Wal::create_with(fake.shared(), Path::new(DIR), IDENTITY, SMALL).unwrap()
}

pub(super) fn open(fake: &FaultyFiles, after_index: u64) -> Result<(Wal, Replay), DiskError> {
    Wal::open_with(fake.shared(), Path::new(DIR), after_index, SMALL)
}

/// Entry `index`, whose data tells it from others and is `len` bytes long.
pub(super) fn entry(index: u64, term: u64, len: usize) -> LogEntry {
    LogEntry {
        index,
        term,
        kind: (index % 2) as u8,
        data: (0..len).map(|at| (at as u64 * 7 + index) as u8 | 1).collect(),
    }
}

pub(super) fn append(wal: &mut Wal, entries: &[LogEntry]) {
    wal.append_entries(entries.iter().map(|entry| {
        let (head, tail) = entry.data.split_at(entry.data.len() / 3);
        (entry.index, entry.term, entry.kind, [head, tail])
    }));
}

/// Appends and syncs each entry by itself.
pub(super) fn append_each(wal: &mut Wal, entries: &[LogEntry]) {
    for entry in entries {
        append(wal, std::slice::from_ref(entry));
        wal.sync().unwrap();
    }
}

pub(super) fn segment(sequence: u64) -> PathBuf {
    Path::new(DIR).join(format!("{sequence:016x}.wal"))
}

#[test]
fn what_was_synced_is_read_back_in_order() {
    let fake = fake(1);
    let mut wal = create(&fake);
    let entries: Vec<_> = (1..=40).map(|index| entry(index, 1, index as usize * 20)).collect();
    for batch in entries.chunks(3) {
        append(&mut wal, batch);
        wal.set_vote(Vote { term: 1, vote: 9, commit: batch[0].index });
        wal.sync().unwrap();
    }
    assert!(wal.segments() > 4, "{} segments", wal.segments());
    drop(wal);
    for after_index in [0, 1, 17, 39, 40] {
        let (_, replay) = open(&fake, after_index).unwrap();
        let vote = Some(Vote { term: 1, vote: 9, commit: 40 });
        let entries = entries[after_index as usize..].to_vec();
        assert_eq!(replay, Replay { identity: IDENTITY, vote, entries, truncated: None });
    }
}

#[test]
fn log_goes_on_after_a_restart_and_on_the_real_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let files: SharedFiles = Arc::new(RealFiles);
    let options = WalOptions { segment_bytes: 16 * 1024, prepare: Prepare::Thread, sync: true };
    let entries: Vec<_> = (1..=300).map(|index| entry(index, 1, 300)).collect();
    let mut wal = Wal::create_with(files.clone(), dir.path(), IDENTITY, options).unwrap();
    for (round, batch) in entries.chunks(60).enumerate() {
        append_each(&mut wal, batch);
        drop(wal);
        let replay;
        (wal, replay) = Wal::open_with(files.clone(), dir.path(), 0, options).unwrap();
        assert_eq!(replay.entries, entries[..(round + 1) * 60]);
    }
    let before = wal.segments();
    wal.release(250).unwrap();
    assert!(wal.segments() < before / 3, "{} of {before} segments stay", wal.segments());
    append_each(&mut wal, &(301..=400).map(|index| entry(index, 2, 300)).collect::<Vec<_>>());
    drop(wal);
    let (_, replay) = Wal::open_with(files, dir.path(), 250, options).unwrap();
    assert_eq!(replay.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), (251..=400).collect::<Vec<_>>());
}

#[test]
fn inspection_reads_the_same_and_changes_nothing() {
    let fake = fake(1);
    let mut wal = create(&fake);
    append_each(&mut wal, &[entry(1, 1, 600), entry(2, 1, 600)]);
    // The first sector of the last batch is lost.
    fake.edit(&segment(1), |bytes| bytes[1536..2048].fill(0));
    let before = fake.bytes(&segment(1));
    let inspected = Wal::inspect(&fake.shared(), Path::new(DIR), 0).unwrap();
    assert_eq!(inspected.truncated, Some((segment(1), 1536)));
    assert!(fake.bytes(&segment(1)) == before);
    assert_eq!(open(&fake, 0).unwrap().1, inspected);
    assert!(fake.bytes(&segment(1)) != before);
}

#[test]
fn unsynced_records_are_not_written() {
    let fake = fake(1);
    let mut wal = create(&fake);
    append(&mut wal, &[entry(1, 1, 10)]);
    wal.set_vote(Vote { term: 1, vote: 1, commit: 0 });
    drop(wal);
    let (_, replay) = open(&fake, 0).unwrap();
    assert_eq!((replay.entries, replay.vote), (vec![], None));
}

#[test]
fn vote_outlives_the_segment_that_it_was_written_in() {
    let fake = fake(1);
    let mut wal = create(&fake);
    let vote = Vote { term: 3, vote: 7, commit: 1 };
    wal.set_vote(vote);
    append_each(&mut wal, &(1..=30).map(|index| entry(index, 3, 300)).collect::<Vec<_>>());
    assert!(wal.segments() > 3);
    wal.release(30).unwrap();
    assert_eq!(wal.segments(), 1);
    drop(wal);
    assert_eq!(open(&fake, 30).unwrap().1.vote, Some(vote));
}

#[test]
fn segments_with_a_later_entry_are_not_released() {
    let fake = fake(1);
    let mut wal = create(&fake);
    append_each(&mut wal, &(1..=30).map(|index| entry(index, 1, 300)).collect::<Vec<_>>());
    wal.release(13).unwrap();
    drop(wal);
    let (_, replay) = open(&fake, 13).unwrap();
    assert_eq!(replay.entries.first().map(|entry| entry.index), Some(14));
    // Without the checkpoint that made them superfluous, the log has a gap and says so.
    let refusal = open(&fake, 0).unwrap_err().to_string();
    assert!(refusal.contains("follows entry 0: those between are missing"), "{refusal}");
}

#[test]
fn batch_larger_than_a_segment_gets_one_of_its_size() {
    let fake = fake(1);
    let mut wal = create(&fake);
    let entries = [entry(1, 1, 10), entry(2, 1, 20_000), entry(3, 1, 10)];
    append_each(&mut wal, &entries);
    drop(wal);
    assert_eq!(open(&fake, 0).unwrap().1.entries, entries);
}

#[test]
fn failed_sync_poisons_the_log() {
    let fake = fake(1);
    let mut wal = create(&fake);
    append_each(&mut wal, &[entry(1, 1, 10)]);
    append(&mut wal, &[entry(2, 1, 10)]);
    fake.fail_next_sync();
    assert!(matches!(wal.sync(), Err(DiskError::Io { action: "sync", .. })));
    assert!(matches!(wal.sync(), Err(DiskError::Poisoned { .. })));
    assert!(matches!(wal.release(1), Err(DiskError::Poisoned { .. })));
}

#[test]
fn full_disk_stops_the_log_only_where_it_needs_a_new_segment() {
    let fake = fake(1);
    let mut wal = create(&fake);
    fake.leave_room(0);
    append_each(&mut wal, &[entry(1, 1, 1000), entry(2, 1, 1000)]);
    append(&mut wal, &[entry(3, 1, 1000)]);
    let refusal = wal.sync().unwrap_err();
    assert!(refusal.is_full(), "{refusal}");
    drop(wal);
    // It starts on a full disk, and goes on once there is room.
    let (mut wal, replay) = open(&fake, 0).unwrap();
    assert_eq!(replay.entries.len(), 2);
    fake.leave_room(100_000);
    append_each(&mut wal, &[entry(3, 1, 1000)]);
    drop(wal);
    assert_eq!(open(&fake, 0).unwrap().1.entries.len(), 3);
}

#[test]
fn disk_that_fills_up_is_told_while_the_active_segment_has_room() {
    let fake = fake(1);
    let options = WalOptions { prepare: Prepare::Thread, ..SMALL };
    let mut wal = Wal::create_with(fake.shared(), Path::new(DIR), IDENTITY, options).unwrap();
    fake.leave_room(0);
    append_each(&mut wal, &[entry(1, 1, 1000), entry(2, 1, 700)]);
    let failure = loop {
        if let Some(failure) = wal.take_housekeeping_failure() {
            break failure;
        }
        std::thread::yield_now();
    };
    assert!(failure.is_full(), "{failure}");
    append_each(&mut wal, &[entry(3, 1, 10)]);
    wal.release(0).unwrap();
}

/// One sync: entries by size, a vote, or both.
fn any_batch() -> impl Strategy<Value = (Vec<usize>, Option<u64>)> {
    (proptest::collection::vec(0_usize..6000, 0..5), proptest::option::of(any::<u64>()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_batches_are_read_back(batches in proptest::collection::vec(any_batch(), 0..30), after_index in 0_u64..20) {
        let fake = fake(1);
        let mut wal = create(&fake);
        let (mut entries, mut vote) = (Vec::new(), None);
        for (sizes, term) in batches {
            let first = entries.len() as u64 + 1;
            let batch: Vec<_> = sizes.iter().zip(first..).map(|(len, index)| entry(index, 3, *len)).collect();
            append(&mut wal, &batch);
            entries.extend(batch);
            if let Some(term) = term {
                vote = Some(Vote { term, vote: !term, commit: first });
                wal.set_vote(Vote { term, vote: !term, commit: first });
            }
            wal.sync().unwrap();
        }
        drop(wal);
        fake.crash();
        let (_, replay) = open(&fake, after_index).unwrap();
        let entries = entries.split_off(entries.len().min(after_index as usize));
        prop_assert_eq!(replay, Replay { identity: IDENTITY, vote, entries, truncated: None });
    }
}
