//! Leases end through the log, and only when nobody could have kept them alive.

use std::time::Duration;

use super::{Machine, load};
use crate::core::{Request, raft_log::RaftLog};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_lease_takes_its_keys_along_when_its_time_is_over() {
    let mut machine = Machine::new();
    machine.grant(1, 5);
    machine.put_leased("held", "x", 1);
    machine.put("free", "x");
    machine.pass(4 * SECOND);
    assert_eq!(machine.keys(), ["free", "held"]);
    machine.pass(SECOND);
    assert_eq!(machine.keys(), ["free"]);
}

#[test]
fn a_key_that_moved_to_another_lease_stays() {
    let mut machine = Machine::new();
    machine.grant(1, 5);
    machine.grant(2, 50);
    machine.put_leased("moved", "x", 1);
    machine.put_leased("moved", "x", 2);
    machine.pass(10 * SECOND);
    assert_eq!(machine.keys(), ["moved"]);
}

#[test]
fn a_thousand_leases_end_within_two_seconds_and_each_at_a_revision_of_its_own() {
    let mut machine = Machine::new();
    for id in 1..=1_000 {
        machine.grant(id, 3);
        machine.put_leased(&format!("k{id}"), "x", id);
    }
    let before = machine.core.state().store.revision();
    machine.pass(3 * SECOND);
    machine.pass(SECOND);
    assert_eq!(machine.keys(), [""; 0]);
    assert_eq!(machine.core.state().store.revision(), before + 1_000);
}

/// Who was kept alive just before a crash must not lose time by it.
#[test]
fn a_restart_gives_every_lease_its_whole_time() {
    let mut machine = Machine::new();
    machine.grant(1, 10);
    machine.put_leased("held", "x", 1);
    machine.pass(9 * SECOND);
    let frames = machine.checkpoint();
    let state = load(machine.now, frames);
    let log = RaftLog::new(vec![1], machine.hard_state.clone(), (state.applied, state.applied_term), Vec::new());
    let (now, applied) = (machine.now, state.applied);
    let mut again = Machine::with(state, log, applied);
    again.now = now;
    again.pass(9 * SECOND);
    assert_eq!(again.keys(), ["held"]);
    again.pass(2 * SECOND);
    assert_eq!(again.keys(), [""; 0]);
}

#[test]
fn keeping_alive_what_is_not_there_says_so() {
    let mut machine = Machine::new();
    let answer = machine.ask(Request::LeaseKeepAlive(5)).unwrap();
    let answer: crate::pb::etcdserverpb::LeaseKeepAliveResponse = prost::Message::decode(answer).unwrap();
    assert_eq!(answer.ttl, 0);
}
