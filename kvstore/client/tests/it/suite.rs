//! What every backend must do. Each case works below a prefix of its own.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use kvstore::{
    Backend, Cause, Compare, Event, KeyEvent, LeaseId, Leases, LockError, Locks, Op, OpResult, Range, Txn, WatchStream,
    follow,
};

pub(crate) struct Store {
    pub(crate) backend: Arc<dyn Backend>,
    /// Lets time pass for the store's leases.
    pub(crate) pass: Box<dyn Fn(Duration) -> Passing>,
}

pub(crate) type Passing = Pin<Box<dyn Future<Output = ()>>>;

/// The shortest lease that etcd grants is a little more than its election time-out.
const SHORT: Duration = Duration::from_secs(2);

pub(crate) async fn run(store: &Store) {
    println!("keys and revisions");
    keys_and_revisions(&store.backend).await;
    println!("ranges and pages");
    ranges_and_pages(&store.backend).await;
    println!("transactions");
    transactions(&store.backend).await;
    nested_transactions(&store.backend).await;
    println!("watches");
    watches(&store.backend).await;
    println!("leases");
    leases(store).await;
    println!("lease manager");
    lease_manager(store).await;
    println!("locks");
    locks(store).await;
    println!("followers");
    followers(&store.backend).await;
    println!("compaction");
    compaction(&store.backend).await;
}

fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn put(store: &Arc<dyn Backend>, key: &str, value: &str) -> i64 {
    store.put(b(key), b(value), None).await.unwrap().revision
}

async fn keys(store: &Arc<dyn Backend>, range: Range) -> Vec<String> {
    let answer = store.range(range).await.unwrap();
    answer.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
}

async fn keys_and_revisions(store: &Arc<dyn Backend>) {
    let first = put(store, "s1/a", "1").await;
    let second = put(store, "s1/a", "2").await;
    assert_eq!(second, first + 1);
    let answer = store.range(Range::key("s1/a")).await.unwrap();
    assert!(answer.header.cluster_id != 0 && answer.header.revision >= second && !answer.more);
    let kv = &answer.kvs[0];
    assert_eq!((&kv.value[..], kv.create_revision, kv.mod_revision, kv.version), (&b"2"[..], first, second, 2));
    assert_eq!(kv.lease, None);
    let old = store.range(Range::key("s1/a").at(first)).await.unwrap();
    assert_eq!(&old.kvs[0].value[..], b"1");
    assert_eq!(store.delete(b("s1/a")).await.unwrap().1, 1);
    let (header, count) = store.delete(b("s1/a")).await.unwrap();
    assert_eq!(count, 0, "deleting what is not there is no error");
    assert_eq!(header.revision, second + 1, "and no write");
    assert!(store.range(Range::key("s1/a")).await.unwrap().kvs.is_empty());
    let again = put(store, "s1/a", "3").await;
    let kv = store.range(Range::key("s1/a")).await.unwrap().kvs.remove(0);
    assert_eq!((kv.create_revision, kv.version), (again, 1), "a key that comes back is a new one");
    let future = store.range(Range::key("s1/a").at(again + 1000)).await.unwrap_err();
    assert_eq!(future.cause, Cause::FutureRevision);
    assert!(store.status().await.unwrap().has_leader);
}

async fn ranges_and_pages(store: &Arc<dyn Backend>) {
    for key in ["s2/a", "s2/b", "s2/c", "s2-x", "s20"] {
        put(store, key, "v").await;
    }
    assert_eq!(keys(store, Range::prefix("s2/")).await, ["s2/a", "s2/b", "s2/c"]);
    let page = store.range(Range::prefix("s2/").limit(2)).await.unwrap();
    assert!(page.more && page.kvs.len() == 2);
    let pinned = page.header.revision;
    store.delete(b("s2/c")).await.unwrap();
    let rest = Range { key: b("s2/b\0"), ..Range::prefix("s2/") }.limit(2).at(pinned);
    assert_eq!(keys(store, rest).await, ["s2/c"], "a pinned page still shows what was there");
    let exact = store.range(Range::prefix("s2/").limit(2)).await.unwrap();
    assert!(!exact.more && exact.kvs.len() == 2);
}

async fn transactions(store: &Arc<dyn Backend>) {
    let revision = put(store, "s3/a", "1").await;
    put(store, "s3/dir/x", "1").await;
    let check = async |compare: Compare, holds: bool| {
        let txn = Txn::when([compare.clone()])
            .then([Op::Range(Range::key("s3/a"))])
            .or_else([Op::Range(Range::prefix("s3/dir/"))]);
        let answer = store.txn(txn).await.unwrap();
        assert_eq!(answer.succeeded, holds, "{compare:?}");
        let OpResult::Range(kvs) = &answer.results[0] else { panic!("{answer:?}") };
        assert_eq!(&kvs[0].key[..], if holds { &b"s3/a"[..] } else { b"s3/dir/x" });
    };
    check(Compare::Version(b("s3/a"), 1), true).await;
    check(Compare::Version(b("s3/a"), 0), false).await;
    check(Compare::Version(b("s3/none"), 0), true).await;
    check(Compare::CreateRevision(b("s3/a"), revision), true).await;
    check(Compare::CreateRevision(b("s3/none"), 0), true).await;
    check(Compare::ModRevision(b("s3/a"), revision), true).await;
    check(Compare::ModRevision(b("s3/a"), revision + 1), false).await;
    check(Compare::Value(b("s3/a"), b("1")), true).await;
    check(Compare::Value(b("s3/a"), b("2")), false).await;
    check(Compare::Value(b("s3/none"), b("")), false).await;
    check(Compare::PrefixEmpty(b("s3/dir/")), false).await;
    check(Compare::PrefixEmpty(b("s3/dir/x")), false).await;
    check(Compare::PrefixEmpty(b("s3/di-")), true).await;
    check(Compare::PrefixValue(b("s3/a"), b("1")), true).await;
    check(Compare::PrefixValue(b("s3/a"), b("2")), false).await;
    check(Compare::PrefixValue(b("s3/none"), b("")), false).await;
    check(Compare::PrefixValue(b("s3/"), b("1")), true).await;
    put(store, "s3v/1", "1").await;
    put(store, "s3v/2", "2").await;
    check(Compare::PrefixValue(b("s3v/"), b("1")), false).await;

    let both =
        Txn::when([Compare::Version(b("s3/a"), 1), Compare::Version(b("s3/a"), 2)]).then([Op::put("s3/a", "2", None)]);
    let answer = store.txn(both).await.unwrap();
    assert!(!answer.succeeded && answer.results.is_empty(), "all compares must hold");
    let ops = [Op::put("s3/b", "1", None), Op::put("s3/c", "1", None), Op::delete("s3/a")];
    let answer = store.txn(Txn::when([]).then(ops).then([Op::DeletePrefix { prefix: b("s3/dir/") }])).await.unwrap();
    assert_eq!(answer.results, [OpResult::Put, OpResult::Put, OpResult::Deleted(1), OpResult::Deleted(1)]);
    let all = store.range(Range::prefix("s3/")).await.unwrap().kvs;
    assert!(all.iter().all(|kv| kv.mod_revision == answer.header.revision), "one revision for all: {all:?}");
    assert_eq!(all.len(), 2);
    let lease = Txn::when([]).then([Op::put("s3/d", "1", None), Op::put("s3/e", "1", Some(LeaseId(0x7777)))]);
    assert_eq!(store.txn(lease).await.unwrap_err().cause, Cause::LeaseNotFound);
    assert_eq!(keys(store, Range::key("s3/d")).await.len(), 0, "all or nothing");
}

async fn nested_transactions(store: &Arc<dyn Backend>) {
    let take = |key: &str, other: &str| {
        let taken = Txn::when([Compare::Version(b(key), 1)]).then([Op::Range(Range::key(b(key)))]);
        Op::Txn(
            Txn::when([Compare::Version(b(key), 0)]).then([Op::put(b(key), b(other), None)]).or_else([Op::Txn(taken)]),
        )
    };
    let before = put(store, "s3n/a", "there").await;
    let together = Txn::when([]).then([take("s3n/a", "1"), take("s3n/b", "2"), take("s3n/c", "3")]);
    let answer = store.txn(together).await.unwrap();
    assert_eq!(answer.header.revision, before + 1, "one revision for all");
    let put = OpResult::Txn { succeeded: true, results: vec![OpResult::Put] };
    assert_eq!(answer.results[1..], [put.clone(), put]);
    let OpResult::Txn { succeeded: false, results } = &answer.results[0] else { panic!("{answer:?}") };
    let [OpResult::Txn { succeeded: true, results }] = &results[..] else { panic!("{answer:?}") };
    let [OpResult::Range(kvs)] = &results[..] else { panic!("{answer:?}") };
    assert_eq!(&kvs[0].value[..], b"there");
    // What the first puts the second does not see, so both would put.
    let twice = Txn::when([]).then([take("s3n/d", "1"), take("s3n/d", "2")]);
    assert!(matches!(store.txn(twice).await.unwrap_err().cause, Cause::Refused(_)));
    assert_eq!(keys(store, Range::prefix("s3n/")).await, ["s3n/a", "s3n/b", "s3n/c"]);
}

/// The next events; batches without any are skipped.
async fn next(stream: &mut Box<dyn WatchStream>) -> Vec<String> {
    loop {
        let batch = tokio::time::timeout(Duration::from_secs(10), stream.next()).await.unwrap().unwrap();
        if !batch.events.is_empty() {
            return batch.events.iter().map(print).collect();
        }
    }
}

fn print(event: &KeyEvent) -> String {
    match event {
        KeyEvent::Put(kv) if kv.create_revision == kv.mod_revision => format!("+{}", String::from_utf8_lossy(&kv.key)),
        KeyEvent::Put(kv) => format!("~{}", String::from_utf8_lossy(&kv.key)),
        KeyEvent::Delete { key, .. } => format!("-{}", String::from_utf8_lossy(key)),
    }
}

async fn watches(store: &Arc<dyn Backend>) {
    let start = put(store, "s4/a", "1").await;
    put(store, "s4-outside", "1").await;
    let ops = [Op::put("s4/a", "2", None), Op::put("s4/b", "1", None)];
    store.txn(Txn::when([]).then(ops)).await.unwrap();
    store.delete(b("s4/a")).await.unwrap();
    let mut past = store.watch(Range::prefix("s4/"), start).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.extend(next(&mut past).await);
    }
    assert_eq!(seen, ["+s4/a", "~s4/a", "+s4/b", "-s4/a"]);
    let end = put(store, "s4/c", "1").await;
    assert_eq!(next(&mut past).await, ["+s4/c"]);
    // A watch of what is yet to come, and of one key.
    let mut one = store.watch(Range::key("s4/d"), end + 1).await.unwrap();
    put(store, "s4/dd", "1").await;
    put(store, "s4/d", "1").await;
    assert_eq!(next(&mut one).await, ["+s4/d"]);
    assert_eq!(next(&mut past).await[0], "+s4/dd");
}

async fn leases(store: &Store) {
    let backend = &store.backend;
    let grant = backend.lease_grant(SHORT).await.unwrap();
    assert!(grant.ttl >= SHORT && grant.id.0 > 0);
    backend.put(b("s5/a"), b("1"), Some(grant.id)).await.unwrap();
    assert_eq!(backend.range(Range::key("s5/a")).await.unwrap().kvs[0].lease, Some(grant.id));
    let mut stream = backend.watch(Range::prefix("s5/"), 0).await.unwrap();
    for _ in 0..3 {
        (store.pass)(grant.ttl / 2).await;
        assert_eq!(backend.lease_keep_alive(grant.id).await.unwrap(), grant.ttl);
    }
    assert_eq!(keys(backend, Range::key("s5/a")).await, ["s5/a"], "a lease that is kept alive lives");
    (store.pass)(grant.ttl * 2).await;
    assert_eq!(next(&mut stream).await, ["-s5/a"], "keys end with their lease");
    assert_eq!(backend.lease_keep_alive(grant.id).await.unwrap_err().cause, Cause::LeaseNotFound);
    assert_eq!(backend.lease_time_left(grant.id).await.unwrap_err().cause, Cause::LeaseNotFound);
    let error = backend.put(b("s5/a"), b("1"), Some(grant.id)).await.unwrap_err();
    assert_eq!((error.cause, error.key.as_str()), (Cause::LeaseNotFound, "s5/a"));
    assert_eq!(backend.lease_revoke(grant.id).await.unwrap_err().cause, Cause::LeaseNotFound);
    // A put without lease takes the key off its lease.
    let grant = backend.lease_grant(Duration::from_secs(60)).await.unwrap();
    let left = backend.lease_time_left(grant.id).await.unwrap();
    assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60), "{left:?}");
    backend.put(b("s5/b"), b("1"), Some(grant.id)).await.unwrap();
    backend.put(b("s5/c"), b("1"), Some(grant.id)).await.unwrap();
    backend.put(b("s5/b"), b("1"), None).await.unwrap();
    backend.lease_revoke(grant.id).await.unwrap();
    assert_eq!(keys(backend, Range::prefix("s5/")).await, ["s5/b"]);
}

async fn lease_manager(store: &Store) {
    let leases = Leases::new(store.backend.clone(), SHORT);
    let mut lost = leases.lost_keys("s6/");
    leases.put(b("s6/a"), b("1")).await.unwrap();
    tokio::select! {
        () = leases.clone().keep_alive() => panic!("it never ends"),
        () = (store.pass)(SHORT * 4) => {}
    }
    assert_eq!(keys(&store.backend, Range::prefix("s6/")).await, ["s6/a"], "kept alive");
    store.backend.lease_revoke(leases.held()[0]).await.unwrap();
    tokio::select! {
        () = leases.clone().keep_alive() => panic!("it never ends"),
        key = lost.recv() => assert_eq!(key.unwrap(), "s6/a", "its owner is told"),
    }
    leases.put(b("s6/a"), b("2")).await.unwrap();
    assert_eq!(keys(&store.backend, Range::prefix("s6/")).await, ["s6/a"]);
}

async fn locks(store: &Store) {
    let backend = &store.backend;
    let process = || {
        let leases = Leases::new(backend.clone(), Duration::from_secs(25));
        Locks::new(backend.clone(), leases)
    };
    let (one, two) = (process(), process());
    let within = Duration::from_secs(20);
    let first = one.lock("s7/l", within).await.unwrap();
    assert!(first.key().starts_with(b"s7/l/"));
    let taken = two.lock("s7/l", Duration::from_millis(300)).await;
    assert!(matches!(taken, Err(LockError::Timeout { .. })));
    let same_process = one.lock("s7/l", Duration::from_millis(300)).await;
    assert!(
        matches!(same_process, Err(LockError::Timeout { .. })),
        "two holders in one process exclude each other too"
    );
    two.lock("s7/other", within).await.unwrap();

    let still = store.backend.txn(Txn::when([first.still_held()]).then([Op::put("s7/x", "1", None)])).await.unwrap();
    assert!(still.succeeded);
    // The one who waits gets it when the holder gives it back; the attempt that timed out must not
    // stand in the way for ever.
    let waiter = async {
        let second = two.lock("s7/l", within).await.unwrap();
        assert!(keys(backend, Range::prefix("s7/l/")).await.len() == 1);
        two.unlock(second).await.unwrap();
    };
    let holder = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let guard_was = first.still_held();
        one.unlock(first).await.unwrap();
        guard_was
    };
    let was = tokio::select! {
        () = two.clone().release_abandoned() => panic!("it never ends"),
        ((), was) = async { tokio::join!(waiter, holder) } => was,
    };
    let gone = store.backend.txn(Txn::when([was]).then([Op::put("s7/x", "2", None)])).await.unwrap();
    assert!(!gone.succeeded, "who has given the lock back does not hold it");

    // A guard that is dropped gives its lock back.
    drop(one.lock("s7/d", within).await.unwrap());
    tokio::select! {
        () = one.clone().release_abandoned() => panic!("it never ends"),
        guard = two.lock("s7/d", within) => drop(guard.unwrap()),
    }
}

async fn followers(store: &Arc<dyn Backend>) {
    // More than a page of unknown size.
    let ops = |from: usize| (from..from + 100).map(|n| Op::put(format!("s8/{n:05}"), "v", None));
    for from in (0..2500).step_by(100) {
        store.txn(Txn::when([]).then(ops(from))).await.unwrap();
    }
    let (mut follower, driver) = follow(store.clone(), "s8/");
    let reader = async {
        let (mut created, mut batches) = (0, 0);
        loop {
            let events = follower.next().await.unwrap();
            batches += 1;
            created += events.iter().filter(|e| matches!(e, Event::Created(_))).count();
            if events.contains(&Event::ListDone) {
                break;
            }
        }
        assert_eq!(created, 2500);
        assert!(batches <= 3, "few and large pages, not {batches}");
        put(store, "s8/00001", "w").await;
        store.delete(b("s8/00002")).await.unwrap();
        put(store, "s8/new", "w").await;
        let mut lines = Vec::new();
        while lines.len() < 3 {
            lines.extend(follower.next().await.unwrap().iter().map(|event| match event {
                Event::Created(kv) => format!("+{}", String::from_utf8_lossy(&kv.key)),
                Event::Modified(kv) => format!("~{}", String::from_utf8_lossy(&kv.key)),
                Event::Deleted { key, .. } => format!("-{}", String::from_utf8_lossy(key)),
                other => format!("{other:?}"),
            }));
        }
        assert_eq!(lines, ["~s8/00001", "-s8/00002", "+s8/new"]);
        follower.relist().await;
        assert_eq!(
            follower.next().await.unwrap(),
            [Event::Relisted { unproven: 0 }],
            "nothing changed, nothing is told"
        );
        drop(follower);
    };
    let driver = async { tokio::time::timeout(Duration::from_secs(30), driver).await.unwrap() };
    tokio::join!(reader, driver);
}

async fn compaction(store: &Arc<dyn Backend>) {
    let old = put(store, "s9/a", "1").await;
    put(store, "s9/a", "2").await;
    let now = put(store, "s9/b", "1").await;
    store.compact(now).await.unwrap();
    let gone = store.range(Range::key("s9/a").at(old)).await.unwrap_err();
    assert!(matches!(gone.cause, Cause::Compacted(_)), "{gone:?}");
    assert!(matches!(store.compact(old).await.unwrap_err().cause, Cause::Compacted(_)));
    assert_eq!(keys(store, Range::prefix("s9/").at(now)).await, ["s9/a", "s9/b"]);
    let mut stream = store.watch(Range::prefix("s9/"), old).await.unwrap();
    let error = loop {
        match tokio::time::timeout(Duration::from_secs(10), stream.next()).await.unwrap() {
            Ok(batch) => assert!(batch.events.is_empty(), "a hole in the history: {batch:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.cause, Cause::Compacted(now));
}
