//! The real file system and the fake are held to the same suite; what only the fake does has its own tests.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::fake::FaultyFiles;
use crate::disk::files::{Mode, RealFiles, SharedFiles};

/// Runs `test` on both, each with an empty directory.
fn on_both(test: impl Fn(&SharedFiles, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    test(&(Arc::new(RealFiles) as SharedFiles), dir.path());
    let fake = FaultyFiles::new(1).shared();
    fake.create_dir(Path::new("/data")).unwrap();
    test(&fake, Path::new("/data"));
}

fn contents(files: &SharedFiles, path: &Path) -> Vec<u8> {
    let file = files.open(path, Mode::Read).unwrap();
    let mut bytes = vec![0xAA; file.len().unwrap() as usize + 1];
    let read = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(read);
    bytes
}

#[test]
fn bytes_are_read_as_written() {
    on_both(|files, dir| {
        let path = dir.join("a");
        let mut file = files.open(&path, Mode::CreateNew).unwrap();
        file.write_at(b"hello", 0).unwrap();
        file.write_at(b"world", 1000).unwrap();
        file.write_at(b"J", 0).unwrap();
        file.sync_data().unwrap();
        let read = contents(files, &path);
        assert_eq!((read.len(), &read[..5], &read[1000..]), (1005, b"Jello".as_slice(), b"world".as_slice()));
        assert!(read[5..1000].iter().all(|byte| *byte == 0));
        assert_eq!(file.read_at(&mut [0; 4], 1007).unwrap(), 0);
    });
}

#[test]
fn zero_fill_leaves_nothing_of_what_was_there() {
    on_both(|files, dir| {
        let path = dir.join("a");
        let mut file = files.open(&path, Mode::CreateNew).unwrap();
        file.write_at(&[7; 5000], 0).unwrap();
        for len in [1024, 9000, 1, 512] {
            file.zero_fill(len).unwrap();
            assert_eq!(contents(files, &path), vec![0; len as usize]);
        }
    });
}

#[test]
fn names_are_listed_in_order_and_follow_renames() {
    on_both(|files, dir| {
        for name in ["b", "a", "c"] {
            files.open(&dir.join(name), Mode::CreateNew).unwrap().write_at(name.as_bytes(), 0).unwrap();
        }
        files.create_dir(&dir.join("d")).unwrap();
        files.rename(&dir.join("c"), &dir.join("a")).unwrap();
        files.remove(&dir.join("b")).unwrap();
        files.sync_dir(dir).unwrap();
        assert_eq!(files.list(dir).unwrap(), ["a", "d"]);
        assert_eq!(contents(files, &dir.join("a")), b"c");
        assert_eq!(files.mode(&dir.join("a")).unwrap(), 0o600);
        assert_eq!(files.mode(&dir.join("d")).unwrap(), 0o700);
    });
}

#[test]
fn what_is_missing_or_in_the_way_is_named() {
    on_both(|files, dir| {
        let (there, missing) = (dir.join("there"), dir.join("missing"));
        files.open(&there, Mode::CreateNew).unwrap();
        let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(files.open(&there, Mode::CreateNew).map(drop)), ErrorKind::AlreadyExists);
        assert_eq!(kind(files.open(&missing, Mode::Read).map(drop)), ErrorKind::NotFound);
        assert_eq!(kind(files.open(&missing, Mode::Write).map(drop)), ErrorKind::NotFound);
        assert_eq!(kind(files.remove(&missing)), ErrorKind::NotFound);
        assert_eq!(kind(files.rename(&missing, &there)), ErrorKind::NotFound);
        assert_eq!(kind(files.list(&missing).map(drop)), ErrorKind::NotFound);
        assert_eq!(kind(files.list(&there).map(drop)), ErrorKind::NotADirectory);
        files.create_dir(&dir.join("d")).unwrap();
        assert_eq!(kind(files.create_dir(&dir.join("d"))), ErrorKind::AlreadyExists);
        assert_eq!(kind(files.create_dir(&missing.join("d"))), ErrorKind::NotFound);
        let mut reader = files.open(&there, Mode::Read).unwrap();
        assert!(reader.write_at(b"x", 0).is_err());
    });
}

#[test]
fn lock_is_held_by_one_until_it_is_dropped() {
    on_both(|files, dir| {
        let path = dir.join("lock");
        let held = files.lock(&path).unwrap();
        assert_eq!(files.lock(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(held);
        drop(files.lock(&path).unwrap());
    });
}

/// A fake with one synced file of four sectors of `1`.
fn fake_with_file(seed: u64) -> (FaultyFiles, PathBuf) {
    let fake = FaultyFiles::new(seed);
    let path = PathBuf::from("/a");
    let files = fake.shared();
    let mut file = files.open(&path, Mode::CreateNew).unwrap();
    file.write_at(&[1; 2048], 0).unwrap();
    file.sync_data().unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    (fake, path)
}

#[test]
fn crash_keeps_what_was_synced_and_tears_the_rest_by_sectors() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (fake, path) = fake_with_file(seed);
        let mut file = fake.shared().open(&path, Mode::Write).unwrap();
        file.write_at(&[2; 1024], 1024).unwrap();
        fake.crash();
        let bytes = fake.bytes(&path);
        assert_eq!(bytes[..1024], [1; 1024]);
        let sectors: Vec<u8> = bytes[1024..].chunks(512).map(|sector| sector[0]).collect();
        assert!(bytes[1024..].chunks(512).zip(&sectors).all(|(sector, first)| sector.iter().all(|byte| byte == first)));
        outcomes.insert(sectors);
        assert!(file.sync_data().is_err(), "a file that was opened before the crash is dead");
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [[1, 1], [1, 2], [2, 1], [2, 2]]);
}

#[test]
fn crash_may_undo_names_that_were_not_synced_and_no_others() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (fake, path) = fake_with_file(seed);
        let files = fake.shared();
        files.rename(&path, Path::new("/b")).unwrap();
        files.open(Path::new("/c"), Mode::CreateNew).unwrap();
        fake.crash();
        outcomes.insert(fake.shared().list(Path::new("/")).unwrap().concat());
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), ["a", "ac", "b", "bc"]);
}

#[test]
fn failed_sync_loses_data_that_no_later_sync_saves() {
    let lost = (0..100).any(|seed| {
        let (fake, path) = fake_with_file(seed);
        let mut file = fake.shared().open(&path, Mode::Write).unwrap();
        file.write_at(&[2; 512], 0).unwrap();
        fake.fail_next_sync();
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(fake.bytes(&path)[0], 2, "the cache still shows it");
        fake.crash();
        fake.bytes(&path)[0] == 1
    });
    assert!(lost);
}

#[test]
fn full_disk_refuses_growth_and_still_takes_writes_in_place() {
    let (fake, path) = fake_with_file(1);
    fake.leave_room(100);
    let mut file = fake.shared().open(&path, Mode::Write).unwrap();
    file.write_at(&[2; 2048], 0).unwrap();
    assert_eq!(file.write_at(&[2; 101], 2048).unwrap_err().kind(), ErrorKind::StorageFull);
    file.write_at(&[2; 100], 2048).unwrap();
    fake.shared().remove(&path).unwrap();
    fake.shared().sync_dir(Path::new("/")).unwrap();
    assert_eq!(fake.room(), 2148);
}

#[test]
fn cut_power_stops_everything_until_the_crash() {
    let (fake, path) = fake_with_file(1);
    let mut file = fake.shared().open(&path, Mode::Write).unwrap();
    fake.cut_power_after(2);
    file.write_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    assert!(file.write_at(b"y", 0).is_err());
    assert!(fake.shared().list(Path::new("/")).is_err());
    fake.crash();
    assert_eq!(fake.bytes(&path)[0], b'x');
}
