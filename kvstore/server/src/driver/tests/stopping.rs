//! Stops at bad moments.

use super::{FaultyFiles, Running, SEGMENT, Stopped, driver, driver_with, put};
use crate::{
    core::{Caller, Failure, Request},
    disk::{DataDir, Identity, Vote, WalOptions},
    driver::Driver,
};

/// The turns of [`Driver::run`], without its thread.
fn step(driver: &mut Driver, request: Option<Request>) {
    let desk = driver.desk.clone();
    let answered = request.map(|request| desk.ask(Caller::Nobody, request, None));
    let mut front = desk.front();
    while driver.write(&mut front).unwrap() {}
    front.core.work();
    front.deliver().0.send();
    drop((front, answered));
}

/// The thread that writes a checkpoint took the driver's end for the checkpoint's, and named what it had so far: the next
/// start found a whole file with a part of the keys.
#[test]
fn checkpoint_that_a_stop_cut_short_is_none() {
    let fake = FaultyFiles::new(1);
    let (mut stopped, _shared) = driver(&fake).unwrap();
    step(&mut stopped, None);
    let count = 2_500;
    for number in 0..count {
        step(&mut stopped, Some(put(&format!("k{number:05}"), &[1; 300], 0)));
    }
    // The head and the first thousand keys are handed over.
    let desk = stopped.desk.clone();
    let mut copy = || stopped.copy(&mut desk.front()).unwrap();
    copy();
    assert!(copy() && copy());
    drop(stopped);
    let names = fake.shared().list("/data/checkpoints".as_ref()).unwrap();
    assert_eq!(names, [""; 0]);
    let store = Running::start(&fake).unwrap();
    assert_eq!(store.all().len() as u64, count);
    store.stop().unwrap();
}

/// A restore that was cut off left a log without the checkpoint that it goes on from: raft panicked at the next start.
#[test]
fn log_that_ends_before_what_it_calls_agreed_is_refused() {
    let fake = FaultyFiles::new(1);
    let dir = DataDir::open(fake.shared(), "/data".as_ref()).unwrap();
    let mut wal = dir.create_wal(Identity { cluster_id: 7, member_id: 1 }, WalOptions::default()).unwrap();
    wal.set_vote(Vote { term: 1, vote: 0, commit: 1 });
    wal.sync().unwrap();
    drop((wal, dir));
    let error = driver(&fake).err().unwrap().to_string();
    assert!(error.contains("says that entry 1 is agreed, and ends at 0"), "{error}");
}

#[test]
fn failed_sync_ends_the_store_and_is_never_acknowledged() {
    let mut kept = 0;
    for good in 0..40 {
        let fake = FaultyFiles::new(good);
        // One segment for all: each sync is that of a put.
        let options = WalOptions { segment_bytes: 64 * SEGMENT, ..WalOptions::default() };
        let (driver, shared) = driver_with(&fake, options).unwrap();
        let store = Running { desk: driver.desk.clone(), driver: std::thread::spawn(move || driver.run()) };
        while !shared.has_leader() {
            std::thread::yield_now();
        }
        store.put("first", b"x").unwrap();
        fake.fail_sync_after(good % 8);
        let answers: Vec<_> = (0..20).map(|number| store.put(&format!("k{number:02}"), &[1; 700])).collect();
        let acknowledged = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(acknowledged as u64, good % 8);
        assert!(answers[acknowledged..].iter().all(|answer| *answer == Err(Failure::Stopped)));
        let Err(Stopped::Disk(error)) = store.ended() else { panic!("it goes on after a failed sync") };
        assert!(error.to_string().starts_with("cannot sync /data/wal/"), "{error}");

        fake.crash();
        let store = Running::start(&fake).unwrap();
        let found = store.all().len() - 1;
        assert!((acknowledged..=acknowledged + 1).contains(&found), "{found} puts, {acknowledged} acknowledged");
        kept += found - acknowledged;
        store.stop().unwrap();
    }
    assert!((1..40).contains(&kept), "what the failed sync was to write survived {kept} times of 40");
}
