//! What a watch may rely on: order, no gap, no repeat, a way to resume, and a clear end when history is gone.

use super::{Machine, StreamRequest};

fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.stream(1, StreamRequest::Open);
    machine
}

#[test]
fn a_watch_is_told_of_what_comes_and_from_the_past() {
    let mut machine = machine();
    let first = machine.put("a/1", "x");
    machine.watch(1, "a/", 0);
    machine.watch(1, "a/", first);
    machine.put("b/1", "x");
    machine.put("a/2", "x");
    machine.delete("a/1");
    assert_eq!(
        machine.sent(),
        ["0: created", "1: created", "1: +a/1@2", "0: +a/2@4", "1: +a/2@4", "0: -a/1@5", "1: -a/1@5"]
            .map(str::to_owned)
            .to_vec(),
    );
}

#[test]
fn a_full_stream_is_told_nothing_and_then_everything_once() {
    let mut machine = machine();
    machine.watch(1, "a/", 0);
    machine.put("a/1", "x");
    machine.stream(1, StreamRequest::Full);
    machine.put("a/2", "x");
    machine.put("a/3", "x");
    assert_eq!(machine.sent(), ["0: created", "0: +a/1@2"]);
    machine.stream(1, StreamRequest::Ready);
    machine.put("a/4", "x");
    assert_eq!(machine.sent(), ["0: +a/2@3 +a/3@4", "0: +a/4@5"]);
}

#[test]
fn a_watch_that_compaction_overtakes_is_cancelled_not_skipped() {
    let mut machine = machine();
    machine.watch(1, "a/", 0);
    machine.stream(1, StreamRequest::Full);
    machine.put("a/1", "x");
    machine.put("a/1", "y");
    machine.put("a/1", "z");
    machine.compact(4);
    machine.stream(1, StreamRequest::Ready);
    assert_eq!(machine.sent(), ["0: created", "0: cancelled, compacted 4"]);
    // Nothing is told to a watch that is over.
    machine.put("a/2", "x");
    assert_eq!(machine.sent(), [""; 0]);
}

#[test]
fn a_watch_may_begin_at_the_compact_revision_also_when_it_deleted() {
    let mut machine = machine();
    machine.put("a/1", "x");
    machine.delete("a/1");
    machine.compact(3);
    machine.watch(1, "a/", 3);
    machine.watch(1, "a/", 2);
    assert_eq!(machine.sent(), ["0: created", "0: -a/1@3", "1: created", "1: cancelled, compacted 3"]);
}

#[test]
fn a_watch_of_the_future_waits() {
    let mut machine = machine();
    machine.watch(1, "a/", 4);
    machine.put("a/1", "x");
    machine.put("a/2", "x");
    machine.put("a/3", "x");
    assert_eq!(machine.sent(), ["0: created", "0: +a/3@4"]);
}

#[test]
fn progress_comes_after_everything_that_it_covers() {
    let mut machine = machine();
    machine.watch(1, "a/", 0);
    machine.stream(1, StreamRequest::Full);
    machine.put("a/1", "x");
    machine.stream(1, StreamRequest::Progress);
    assert_eq!(machine.sent(), ["0: created"]);
    machine.stream(1, StreamRequest::Ready);
    assert_eq!(machine.sent(), ["0: +a/1@2", "-1: "]);
}

#[test]
fn a_long_history_is_told_in_parts_without_a_gap() {
    let mut machine = machine();
    for number in 0..5_000 {
        machine.put(&format!("a/{}", number % 7), "x");
    }
    machine.watch(1, "a/", 2);
    let sent = machine.sent();
    assert!(sent.len() > 3, "in parts");
    let revisions: Vec<i64> = sent[1..]
        .iter()
        .flat_map(|message| message.split(' ').skip(1))
        .map(|event| event.split('@').nth(1).unwrap().parse().unwrap())
        .collect();
    assert_eq!(revisions, (2..=5_001).collect::<Vec<i64>>());
}
