//! The lazy file system itself: a durability test that stands on it is worth what these say.

#[path = "support/lazy_fs.rs"]
mod lazy_fs;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use lazy_fs::LazyFs;

/// Mounts it over an empty directory for `test`. Without FUSE it says so, and under `CI=true` it fails.
fn mounted(seed: u64, test: impl FnOnce(&LazyFs, &Path)) -> bool {
    if let Some(missing) = LazyFs::missing() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "FUSE is required: {missing}");
        println!("SKIP the lazy file system: {missing}");
        return false;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = LazyFs::mount(dir.path(), seed).expect("mount with FUSE");
    test(&files, dir.path());
    true
}

#[test]
fn processes_see_an_ordinary_file_system() {
    mounted(1, |_, dir| {
        fs::create_dir(dir.join("d")).unwrap();
        let path = dir.join("d/a");
        fs::write(&path, b"hello").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.write_all_at(&[7; 300_000], 100).unwrap();
        file.set_len(200_000).unwrap();
        file.sync_data().unwrap();
        let read = fs::read(&path).unwrap();
        assert_eq!((read.len(), &read[..5]), (200_000, b"hello".as_slice()));
        assert!(read[100..].iter().all(|byte| *byte == 7));
        fs::rename(&path, dir.join("d/b")).unwrap();
        File::open(dir.join("d")).unwrap().sync_all().unwrap();
        let names: Vec<_> = fs::read_dir(dir.join("d")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["b"]);
        let metadata = fs::metadata(dir.join("d/b")).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (200_000, 0o600));
        assert_eq!(fs::read(&path).unwrap_err().kind(), ErrorKind::NotFound);
        let second = File::open(dir.join("d/b")).unwrap();
        file.try_lock().unwrap();
        assert!(second.try_lock().is_err());
        fs::remove_file(dir.join("d/b")).unwrap();
        assert_eq!(fs::read_dir(dir.join("d")).unwrap().count(), 0);
    });
}

#[test]
fn crash_keeps_what_was_synced_and_throws_for_the_rest() {
    let mut outcomes = BTreeSet::new();
    let ran = mounted(7, |files, dir| {
        for round in 0..100 {
            let path = dir.join(format!("file-{round}"));
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
            file.write_all_at(&[1; 1024], 0).unwrap();
            file.sync_data().unwrap();
            File::open(dir).unwrap().sync_all().unwrap();
            file.write_all_at(&[2; 1024], 512).unwrap();
            fs::write(dir.join("unsynced"), b"x").unwrap();
            drop(file);
            files.crash();
            let bytes = fs::read(&path).unwrap();
            assert_eq!(bytes[..512], [1; 512]);
            assert!(bytes.len() == 1024 || bytes.len() == 1536, "{}", bytes.len());
            assert!(bytes.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            outcomes.insert((bytes[512], bytes.len(), dir.join("unsynced").exists()));
            drop(fs::remove_file(dir.join("unsynced")));
            File::open(dir).unwrap().sync_all().unwrap();
        }
        assert!(files.syncs() >= 300, "{} syncs", files.syncs());
    });
    assert_eq!(outcomes.len(), if ran { 8 } else { 0 }, "{outcomes:?}");
}

#[test]
fn lie_about_syncs_loses_what_was_synced() {
    mounted(3, |files, dir| {
        fs::write(dir.join("before"), b"x").unwrap();
        File::open(dir.join("before")).unwrap().sync_all().unwrap();
        File::open(dir).unwrap().sync_all().unwrap();
        files.lie_about_syncs();
        let (mut survived, mut lost) = (0, 0);
        for round in 0..50 {
            let path = dir.join(format!("file-{round}"));
            fs::write(&path, b"y").unwrap();
            File::open(&path).unwrap().sync_all().unwrap();
            File::open(dir).unwrap().sync_all().unwrap();
            files.crash();
            lost += files.lost();
            survived += u32::from(fs::read(&path).is_ok_and(|bytes| bytes == b"y"));
        }
        assert!(survived < 45, "{survived} of 50 survived");
        // A name and a sector or a length each time, by dice that are fair on the whole.
        assert!(lost > 50, "{lost} losses");
        assert_eq!(fs::read(dir.join("before")).unwrap(), b"x");
    });
}
