//! A disk that has no room left: what takes room is refused, the rest goes on, and nothing is lost.

use super::{AlarmAction, FaultyFiles, Running, SEGMENT, compact, delete, grant, put};
use crate::{core::Failure, pb::etcdserverpb::AlarmType};

/// More puts than any log here has room for.
const MANY: usize = 2_000;

/// Puts until one is refused, and gives the keys that were acknowledged.
fn put_until_refused(store: &Running, name: &str) -> (Vec<String>, Failure) {
    let mut acknowledged = Vec::new();
    for number in 0..MANY {
        let key = format!("{name}{number:05}");
        match store.put(&key, &[1; 1_000]) {
            Ok(()) => acknowledged.push(key),
            Err(failure) => return (acknowledged, failure),
        }
    }
    panic!("{MANY} puts found room on a full disk");
}

fn keys(store: &Running) -> Vec<String> {
    store.all().into_iter().map(|(key, _)| key).collect()
}

#[test]
fn full_disk_refuses_puts_and_takes_deletes_until_the_operator_disarms() {
    let fake = FaultyFiles::new(1);
    let store = Running::start(&fake).unwrap();
    store.put("before", b"x").unwrap();
    fake.leave_room(0);
    let (mut expected, failure) = put_until_refused(&store, "k");
    assert_eq!(failure, Failure::NoSpace);
    expected.insert(0, "before".to_owned());
    assert_eq!(keys(&store), expected, "reads go on");
    assert_eq!(store.alarm(AlarmAction::Get), [AlarmType::Nospace]);
    assert_eq!(store.ask(grant(9, 100)).unwrap_err(), Failure::NoSpace);

    assert!(store.ask(delete("before")).is_ok());
    assert!(store.ask(compact(2)).is_ok());
    assert_eq!(store.put("more", b"x").unwrap_err(), Failure::NoSpace);
    expected.remove(0);

    store.stop().unwrap();
    fake.kill();
    let store = Running::start(&fake).unwrap();
    assert_eq!(keys(&store), expected, "nothing is lost while the disk is still full");
    assert_eq!(store.put("more", b"x").unwrap_err(), Failure::NoSpace);

    fake.leave_room(1 << 30);
    assert!(store.ask(delete(&expected[0])).is_ok());
    assert_eq!(store.put("more", b"x").unwrap_err(), Failure::NoSpace, "the alarm is the operator's to disarm");
    assert_eq!(store.alarm(AlarmAction::Deactivate), [AlarmType::Nospace]);
    store.put("more", b"x").unwrap();
    assert_eq!(store.alarm(AlarmAction::Get), []);
    store.stop().unwrap();
}

/// Disarmed too early: the next that finds no room raises it again.
#[test]
fn alarm_comes_back_while_there_is_no_room() {
    let fake = FaultyFiles::new(2);
    let store = Running::start(&fake).unwrap();
    fake.leave_room(0);
    assert_eq!(put_until_refused(&store, "a").1, Failure::NoSpace);
    store.alarm(AlarmAction::Deactivate);
    let (acknowledged, failure) = put_until_refused(&store, "b");
    assert_eq!(failure, Failure::NoSpace);
    assert!(acknowledged.len() < 10, "{} puts", acknowledged.len());
    store.stop().unwrap();
}

/// The log has room, since it is released by checkpoints; those have none.
#[test]
fn checkpoint_without_room_refuses_puts_before_the_log_has_none() {
    let fake = FaultyFiles::new(3);
    let store = Running::start(&fake).unwrap();
    for number in 0..400 {
        store.put(&format!("k{number:05}"), &[1; 1_000]).unwrap();
    }
    let before = fake.room();
    fake.leave_room(8 * SEGMENT);
    let refused = (0..MANY).find_map(|number| store.put(&format!("k{:05}", number % 400), &[2; 1_000]).err());
    assert_eq!(refused, Some(Failure::NoSpace));
    assert!(fake.room() >= SEGMENT, "{} bytes: the log itself ran out of room", fake.room());
    assert_eq!(store.all().len(), 400);
    fake.leave_room(before);
    store.alarm(AlarmAction::Deactivate);
    store.put("more", b"x").unwrap();
    store.stop().unwrap();
}

/// What comes faster than the log can refuse it ends the store, as a failed write does; it is there again afterwards.
#[test]
fn burst_that_the_log_has_no_room_for_ends_the_store_and_loses_nothing() {
    let fake = FaultyFiles::new(4);
    let store = Running::start(&fake).unwrap();
    store.put("before", b"x").unwrap();
    fake.leave_room(0);
    let burst = store.send(put("burst", &vec![1; 2 * SEGMENT as usize], 0));
    assert_eq!(burst.wait().unwrap_err(), Failure::Stopped);
    assert!(matches!(store.ended(), Err(super::Stopped::Disk(_))));
    fake.kill();
    let store = Running::start(&fake).unwrap();
    assert_eq!(keys(&store), ["before"]);
    store.stop().unwrap();
}
