//! The data directory: who may use it, and what must agree in it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::wal::{IDENTITY, SMALL, append_each, entry};
use crate::disk::data_dir::Existing;
use crate::disk::fake::FaultyFiles;
use crate::disk::{CheckpointWriter, DataDir, DiskError, Identity, RealFiles, Recovered, SharedFiles};

fn real() -> SharedFiles {
    Arc::new(RealFiles)
}

/// A member of `identity` with three entries and a checkpoint of the second.
fn member(path: &Path, identity: Identity) {
    let dir = DataDir::open(real(), path).unwrap();
    assert!(matches!(dir.recover(SMALL).unwrap(), Recovered::Fresh));
    let mut wal = dir.create_wal(identity, SMALL).unwrap();
    append_each(&mut wal, &[entry(1, 1, 10), entry(2, 1, 10), entry(3, 1, 10)]);
    let mut writer = CheckpointWriter::create(real(), dir.checkpoints(), identity, 2, 1).unwrap();
    writer.write(b"state").unwrap();
    writer.finish().unwrap();
}

fn refusal(path: &Path) -> String {
    let opened = DataDir::open(real(), path).and_then(|dir| dir.recover(SMALL).map(drop));
    opened.unwrap_err().to_string()
}

#[test]
fn member_is_found_again() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a/b/data");
    member(&path, IDENTITY);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!([&path, &path.join("wal"), &path.join("checkpoints")].map(|path| mode(path)), [0o700; 3]);
    assert_eq!(mode(&path.join("wal/0000000000000001.wal")), 0o600);
    assert_eq!(mode(&path.join("checkpoints/0000000000000002.checkpoint")), 0o600);
    let dir = DataDir::open(real(), &path).unwrap();
    assert!(dir.free_space().unwrap() > 0);
    let Recovered::Existing(existing) = dir.recover(SMALL).unwrap() else { panic!("the member is gone") };
    let Existing { checkpoint, replay, .. } = *existing;
    assert_eq!(checkpoint.unwrap().next_frame().unwrap().unwrap(), b"state");
    assert_eq!(replay.entries, [entry(3, 1, 10)]);
}

#[test]
fn second_server_is_refused_until_the_first_is_gone() {
    let temp = tempfile::tempdir().unwrap();
    let first = DataDir::open(real(), temp.path()).unwrap();
    assert!(matches!(DataDir::open(real(), temp.path()), Err(DiskError::Locked { .. })));
    let refusal = refusal(temp.path());
    assert!(refusal.contains("lock is locked by another process"), "{refusal}");
    drop(first);
    DataDir::open(real(), temp.path()).unwrap();
}

#[test]
fn files_of_another_cluster_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| temp.path().join(name));
    member(&ours, IDENTITY);
    member(&theirs, Identity { cluster_id: 0xBAD, ..IDENTITY });
    let name = "checkpoints/0000000000000002.checkpoint";
    std::fs::copy(theirs.join(name), ours.join(name)).unwrap();
    let refusal = refusal(&ours);
    assert!(refusal.contains(name), "{refusal}");
    assert!(refusal.contains("belongs to cluster bad, member 3e, but"), "{refusal}");
    assert!(refusal.contains("wal belongs to cluster c1, member 3e"), "{refusal}");
}

#[test]
fn checkpoint_without_its_log_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    member(temp.path(), IDENTITY);
    std::fs::remove_file(temp.path().join("wal/0000000000000001.wal")).unwrap();
    let refusal = refusal(temp.path());
    assert!(refusal.contains("holds no segment of the log that goes on from it; put the log back"), "{refusal}");
}

#[test]
fn log_without_its_checkpoint_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = DataDir::open(real(), temp.path()).unwrap();
    let mut wal = dir.create_wal(IDENTITY, SMALL).unwrap();
    append_each(&mut wal, &(1..=20).map(|index| entry(index, 1, 900)).collect::<Vec<_>>());
    wal.release(20).unwrap();
    drop((wal, dir));
    let refusal = refusal(temp.path());
    assert!(refusal.contains("follows entry 0: those between are missing"), "{refusal}");
}

#[test]
fn data_of_etcd_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(temp.path().join("member/wal")).unwrap();
    let refusal = refusal(temp.path());
    assert!(refusal.contains("holds `member/`, the data of an etcd server"), "{refusal}");
    assert!(!temp.path().join("lock").exists());
}

#[test]
fn data_that_everyone_may_read_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    member(temp.path(), IDENTITY);
    let wal = temp.path().join("wal");
    std::fs::set_permissions(&wal, PermissionsExt::from_mode(0o755)).unwrap();
    let refusal_text = refusal(temp.path());
    assert!(refusal_text.contains("its permissions are 0755"), "{refusal_text}");
    assert!(refusal_text.ends_with(&format!("run `chmod 700 {}`", wal.display())), "{refusal_text}");
    // A group is somebody's choice: Kubernetes gives volumes to one.
    std::fs::set_permissions(&wal, PermissionsExt::from_mode(0o770)).unwrap();
    DataDir::open(real(), temp.path()).unwrap();
}

#[test]
fn file_in_the_place_of_the_directory_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    std::fs::write(&path, "x").unwrap();
    assert_eq!(refusal(&path), format!("cannot list {}", path.display()));
}

/// A process that is killed while it creates the directories leaves names that no sync covered; the next one builds on
/// them, acknowledges a write, and then the power goes.
#[test]
fn first_start_that_was_killed_takes_nothing_from_the_second() {
    for (cut, seed) in (0..20).flat_map(|cut| (0..10).map(move |seed| (cut, seed))) {
        let fake = FaultyFiles::new(seed);
        let path = Path::new("/var/data");
        fake.cut_power_after(cut);
        let first = DataDir::open(fake.shared(), path).and_then(|dir| dir.create_wal(IDENTITY, SMALL).map(drop));
        let killed = first.is_err();
        fake.kill();
        let dir = DataDir::open(fake.shared(), path).unwrap();
        let mut wal = match dir.recover(SMALL).unwrap() {
            Recovered::Fresh => dir.create_wal(IDENTITY, SMALL).unwrap(),
            Recovered::Existing(existing) => existing.wal,
        };
        append_each(&mut wal, &[entry(1, 1, 10)]);
        drop((wal, dir));
        fake.crash();
        let dir = DataDir::open(fake.shared(), path).unwrap();
        let Recovered::Existing(existing) = dir.recover(SMALL).unwrap() else {
            panic!("cut after {cut} changes (killed: {killed}), seed {seed}: the member is gone")
        };
        assert_eq!(existing.replay.entries, [entry(1, 1, 10)]);
    }
}
