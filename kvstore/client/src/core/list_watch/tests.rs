//! The core against a store made of plain vectors, step by step.

use super::*;
use crate::{Header, Operation};

const CLUSTER: u64 = 7;

fn kv(key: &str, value: &str, mod_revision: Revision) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        create_revision: mod_revision,
        mod_revision,
        version: 1,
        lease: None,
    }
}

fn found(revision: Revision, kvs: &[KeyValue]) -> Result<RangeResult, Error> {
    Ok(RangeResult { header: Header { cluster_id: CLUSTER, revision }, kvs: kvs.to_vec(), more: false })
}

fn batch(events: &[KeyEvent]) -> Result<WatchBatch, Error> {
    Ok(WatchBatch { header: Header { cluster_id: CLUSTER, revision: 0 }, events: events.to_vec() })
}

fn failed(cause: Cause) -> Error {
    Error::new(Operation::Watch, b"p/", cause)
}

fn ended() -> Error {
    failed(Cause::WatchEnded("closed".into()))
}

/// All effects that are due, one line each.
fn drain(core: &mut ListWatch) -> Vec<String> {
    let text = |b: &Bytes| String::from_utf8_lossy(b).replace('\0', "\\0");
    let event = |e: &Event| match e {
        Event::Created(kv) => format!("+{}@{}", text(&kv.key), kv.mod_revision),
        Event::Modified(kv) => format!("~{}@{}", text(&kv.key), kv.mod_revision),
        Event::Deleted { key, revision } => format!("-{}@{revision}", text(key)),
        Event::ListDone => "done".to_owned(),
        Event::StoreUnknown => "unknown".to_owned(),
        Event::Relisted { unproven } => format!("relisted({unproven})"),
    };
    std::iter::from_fn(|| core.poll_effect())
        .map(|effect| match effect {
            Effect::Prove(range) => format!("prove {}@{}", text(&range.key), range.revision),
            Effect::List(range) => format!("list {}@{}", text(&range.key), range.revision),
            Effect::Watch { from, .. } => format!("watch {from}"),
            Effect::Emit(events) => {
                let mut lines: Vec<String> = events.iter().map(event).collect();
                // Absent keys come out of a hash map.
                lines.sort_by_key(|l| (l.starts_with("done") || l.starts_with("relisted"), l.clone()));
                lines.join(" ")
            }
        })
        .collect()
}

/// A core that has listed a@5 and b@6 at revision 10, and watches.
fn watching(now: Instant) -> ListWatch {
    let mut core = ListWatch::new("p/");
    assert_eq!(drain(&mut core), ["list p/@0"]);
    core.handle_page(now, found(10, &[kv("p/a", "1", 5), kv("p/b", "2", 6)]), 0.0);
    assert_eq!(drain(&mut core), ["+p/a@5 +p/b@6 done", "watch 11"]);
    core
}

/// Ends the watch and lets the delay pass.
fn interrupted(core: &mut ListWatch, now: Instant, error: Error) {
    core.handle_batch(now, Err(error), 0.0);
    assert!(drain(core).is_empty());
    core.handle_timeout(core.poll_timeout().unwrap());
}

#[test]
fn a_list_is_followed_by_a_watch_from_the_next_revision() {
    let now = Instant::now();
    let mut core = watching(now);
    core.handle_batch(
        now,
        batch(&[
            KeyEvent::Put(kv("p/c", "3", 11)),
            KeyEvent::Put(kv("p/a", "4", 11)),
            KeyEvent::Delete { key: "p/b".into(), revision: 12 },
            KeyEvent::Delete { key: "p/never".into(), revision: 12 },
        ]),
        0.0,
    );
    assert_eq!(drain(&mut core), ["+p/c@11 -p/b@12 ~p/a@11"]);
}

#[test]
fn pages_are_pinned_and_start_after_the_last_key() {
    let now = Instant::now();
    let mut core = ListWatch::new("p/");
    drain(&mut core);
    let mut page = found(10, &[kv("p/a", "1", 5)]).unwrap();
    page.more = true;
    core.handle_page(now, Ok(page), 0.0);
    assert_eq!(drain(&mut core), ["+p/a@5", "list p/a\\0@10"]);
    // Meanwhile the store went on; the page is still that of revision 10.
    core.handle_page(now, found(12, &[kv("p/b", "1", 6)]), 0.0);
    assert_eq!(drain(&mut core), ["+p/b@6 done", "watch 11"]);
}

#[test]
fn a_page_too_large_to_decode_is_asked_for_in_halves() {
    let now = Instant::now();
    let mut core = ListWatch::new("p/");
    let limit = |core: &mut ListWatch| match core.poll_effect() {
        Some(Effect::List(range)) => range.limit,
        other => panic!("{other:?}"),
    };
    assert_eq!(limit(&mut core), 1000);
    core.handle_page(now, Err(failed(Cause::TooLarge("x".into()))), 0.0);
    assert_eq!(limit(&mut core), 500);
}

#[test]
fn a_list_that_breaks_off_does_not_hide_a_key_that_went_meanwhile() {
    let now = Instant::now();
    let mut core = watching(now);
    interrupted(&mut core, now, failed(Cause::Compacted(20)));
    assert_eq!(drain(&mut core), ["prove p/b@0"]);
    core.handle_proof(now, found(30, &[kv("p/b", "2", 6)]), 0.0);
    assert_eq!(drain(&mut core), ["list p/@0"]);
    let mut page = found(30, &[kv("p/a", "1", 5)]).unwrap();
    page.more = true;
    core.handle_page(now, Ok(page), 0.0);
    assert_eq!(drain(&mut core), ["list p/a\\0@30"]);
    core.handle_page(now, Err(failed(Cause::Compacted(31))), 0.0);
    core.handle_timeout(core.poll_timeout().unwrap());
    drain(&mut core);
    core.handle_proof(now, found(32, &[kv("p/b", "2", 6)]), 0.0);
    drain(&mut core);
    core.handle_page(now, found(32, &[kv("p/b", "2", 6)]), 0.0);
    assert_eq!(drain(&mut core), ["-p/a@32 relisted(0)", "watch 33"]);
}

#[test]
fn a_watch_goes_on_where_it_ended_if_the_store_proves_itself() {
    let now = Instant::now();
    let mut core = watching(now);
    interrupted(&mut core, now, ended());
    assert_eq!(drain(&mut core), ["prove p/b@0"]);
    core.handle_proof(now, found(11, &[kv("p/b", "2", 6)]), 0.0);
    assert_eq!(drain(&mut core), ["watch 11"]);
}

#[test]
fn what_was_overwritten_is_proven_at_its_own_revision() {
    let now = Instant::now();
    let mut core = watching(now);
    interrupted(&mut core, now, ended());
    drain(&mut core);
    core.handle_proof(now, found(11, &[kv("p/b", "other", 11)]), 0.0);
    assert_eq!(drain(&mut core), ["prove p/b@6"]);
    core.handle_proof(now, found(11, &[kv("p/b", "2", 6)]), 0.0);
    assert_eq!(drain(&mut core), ["watch 11"]);
}

#[test]
fn compaction_leads_to_a_relist_with_a_diff() {
    let now = Instant::now();
    let mut core = watching(now);
    interrupted(&mut core, now, failed(Cause::Compacted(20)));
    drain(&mut core);
    core.handle_proof(now, found(30, &[kv("p/b", "2", 6)]), 0.0);
    drain(&mut core);
    core.handle_page(now, found(30, &[kv("p/b", "2", 6), kv("p/c", "3", 29)]), 0.0);
    assert_eq!(drain(&mut core), ["+p/c@29 -p/a@30 relisted(0)", "watch 31"]);
}

/// Every way in which a store fails to prove itself: nothing may be deleted.
#[test]
fn an_unknown_store_deletes_nothing() {
    type Answers = Vec<Result<RangeResult, Error>>;
    fn check(what: &str, answers: Answers) {
        let now = Instant::now();
        let mut core = watching(now);
        interrupted(&mut core, now, ended());
        for answer in answers {
            assert!(drain(&mut core).last().unwrap().starts_with("prove"), "{what}");
            core.handle_proof(now, answer, 0.0);
        }
        assert_eq!(drain(&mut core), ["unknown", "list p/@0"], "{what}");
        core.handle_page(now, found(3, &[kv("p/b", "2", 2)]), 0.0);
        assert_eq!(drain(&mut core), ["~p/b@2 relisted(1)", "watch 4"], "{what}");
        // It stays so through a relist of the new store, and goes when the reader accepts it.
        interrupted(&mut core, now, failed(Cause::Compacted(5)));
        drain(&mut core);
        core.handle_proof(now, found(9, &[kv("p/b", "2", 2)]), 0.0);
        drain(&mut core);
        core.handle_page(now, found(9, &[kv("p/b", "2", 2)]), 0.0);
        assert_eq!(drain(&mut core), ["relisted(1)", "watch 10"], "{what}");
        core.handle_accept_absence();
        assert_eq!(drain(&mut core), ["-p/a@9"], "{what}");
    }
    let mut foreign = found(11, &[kv("p/b", "2", 6)]).unwrap();
    foreign.header.cluster_id = 8;
    check("another cluster id", vec![Ok(foreign)]);
    check("a revision below ours", vec![found(9, &[kv("p/b", "2", 6)])]);
    check("the put is gone", vec![found(11, &[]), found(11, &[])]);
    check("other bytes", vec![found(11, &[kv("p/b", "x", 6)]), found(11, &[kv("p/b", "x", 6)])]);
    check("compacted away", vec![found(11, &[]), Err(failed(Cause::Compacted(8)))]);
}

#[test]
fn an_unavailable_store_is_asked_again_and_changes_nothing() {
    let now = Instant::now();
    let mut core = watching(now);
    interrupted(&mut core, now, ended());
    for _ in 0..20 {
        assert_eq!(drain(&mut core), ["prove p/b@0"]);
        core.handle_proof(now, Err(failed(Cause::Unavailable("down".into()))), 1.0);
        let delay = core.poll_timeout().unwrap() - now;
        assert!(delay <= Duration::from_secs(60));
        core.handle_timeout(now + delay);
    }
}

#[test]
fn a_store_that_counts_backwards_is_asked_for_proof() {
    let now = Instant::now();
    let mut core = watching(now);
    core.handle_batch(now, batch(&[KeyEvent::Delete { key: "p/a".into(), revision: 4 }]), 0.0);
    assert!(drain(&mut core).is_empty(), "no delete without an increasing revision");
    core.handle_timeout(core.poll_timeout().unwrap());
    assert_eq!(drain(&mut core), ["prove p/b@0"]);
}

#[test]
fn a_key_costs_little_memory() {
    assert_eq!(size_of::<(Box<[u8]>, i64)>(), 24);
}
