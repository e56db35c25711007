//! A store in memory with etcd's meaning, and switches for what goes wrong with real ones.
//!
//! One suite runs on it and on etcd. Its leases run on a clock that only [`Fake::advance`] moves.

mod history;
mod txn;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::watch, time::sleep};

use self::history::History;
use crate::{
    Backend, Cause, Error, Header, LeaseGrant, LeaseId, Op, OpResult, Operation, Pending, Range, RangeResult, Revision,
    ServerStatus, Txn, TxnResult, WatchBatch, WatchStream,
};

/// A handle; clones share the store.
#[derive(Clone)]
pub struct Fake(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Sends on every write and on every switch that a watch must notice.
    changed: watch::Sender<u64>,
}

struct State {
    cluster_id: u64,
    history: History,
    leases: BTreeMap<LeaseId, Lease>,
    next_lease: i64,
    /// The fake's own clock.
    now: Duration,
    unavailable: bool,
    delay: Duration,
    /// Counts cuts: a watch opened before the last one is over.
    cuts: u64,
    max_answer: Option<usize>,
    requests: Vec<String>,
}

/// What a fake held.
pub struct Saved(History);

struct Lease {
    ttl: Duration,
    expires: Duration,
}

struct FakeWatch {
    fake: Fake,
    range: Range,
    next: Revision,
    cuts: u64,
    changed: watch::Receiver<u64>,
}

// === impl Fake: switches ===

impl Fake {
    #[expect(clippy::new_without_default, reason = "a store is made on purpose")]
    pub fn new() -> Self {
        let state = State {
            cluster_id: 0xca05e,
            history: History::new(),
            leases: BTreeMap::new(),
            next_lease: 0x1000,
            now: Duration::ZERO,
            unavailable: false,
            delay: Duration::ZERO,
            cuts: 0,
            max_answer: None,
            requests: Vec::new(),
        };
        Self(Arc::new(Inner { state: Mutex::new(state), changed: watch::Sender::new(0) }))
    }

    /// While on, every request fails and open watches are cut.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.0.state.lock().unavailable = unavailable;
        if unavailable {
            self.cut_watches();
        }
    }

    /// Every answer takes so long.
    pub fn set_delay(&self, delay: Duration) {
        self.0.state.lock().delay = delay;
    }

    /// Answers of more bytes of keys and values fail as too large.
    pub fn set_max_answer(&self, bytes: Option<usize>) {
        self.0.state.lock().max_answer = bytes;
    }

    pub fn cut_watches(&self) {
        self.0.state.lock().cuts += 1;
        self.0.changed.send_modify(|n| *n += 1);
    }

    /// Moves the clock of the leases; keys of those that end are deleted, in one revision each.
    pub fn advance(&self, by: Duration) {
        let mut state = self.0.state.lock();
        state.now += by;
        let now = state.now;
        let ended: Vec<LeaseId> = state.leases.iter().filter(|(_, l)| l.expires <= now).map(|(id, _)| *id).collect();
        for lease in ended {
            state.revoke(lease);
        }
        drop(state);
        self.0.changed.send_modify(|n| *n += 1);
    }

    /// An empty store in its place, with the same cluster id or another one.
    pub fn wipe(&self, keep_cluster_id: bool) {
        let mut state = self.0.state.lock();
        state.history = History::new();
        state.leases.clear();
        if !keep_cluster_id {
            state.cluster_id += 1;
        }
        drop(state);
        self.cut_watches();
    }

    /// What it holds now.
    pub fn save(&self) -> Saved {
        Saved(self.0.state.lock().history.clone())
    }

    /// What was saved becomes the store: the same cluster id, a lower revision.
    pub fn go_back(&self, saved: &Saved) {
        self.0.state.lock().history = saved.0.clone();
        self.cut_watches();
    }

    /// The requests so far, one line each; for tests of how much is asked.
    pub fn requests(&self) -> Vec<String> {
        self.0.state.lock().requests.clone()
    }

    async fn request<T>(
        &self,
        operation: Operation,
        key: &[u8],
        run: impl FnOnce(&mut State) -> Result<T, Cause>,
    ) -> Result<T, Error> {
        let delay = self.0.state.lock().delay;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let mut state = self.0.state.lock();
        state.requests.push(format!("{operation} {}", String::from_utf8_lossy(key)));
        if state.unavailable {
            return Err(Error::new(operation, key, Cause::Unavailable("switched off".into())));
        }
        let before = state.history.revision();
        let answer = run(&mut state).map_err(|cause| Error::new(operation, key, cause));
        let wrote = state.history.revision() > before;
        drop(state);
        if wrote {
            self.0.changed.send_modify(|n| *n += 1);
        }
        answer
    }
}

// === impl State ===

impl State {
    fn header(&self) -> Header {
        Header { cluster_id: self.cluster_id, revision: self.history.revision() }
    }

    fn check_lease(&self, lease: Option<LeaseId>) -> Result<(), Cause> {
        match lease {
            Some(id) if !self.leases.contains_key(&id) => Err(Cause::LeaseNotFound),
            _ => Ok(()),
        }
    }

    fn revoke(&mut self, lease: LeaseId) -> bool {
        let existed = self.leases.remove(&lease).is_some();
        let keys: Vec<Bytes> = self.history.current().filter(|kv| kv.lease == Some(lease)).map(|kv| kv.key).collect();
        if !keys.is_empty() {
            let revision = self.history.begin();
            for key in &keys {
                self.history.delete(key, revision);
            }
        }
        existed
    }

    fn range(&self, range: &Range) -> Result<RangeResult, Cause> {
        let limit = if range.limit == 0 { usize::MAX } else { range.limit as usize };
        let mut kvs = match range.revision {
            0 => self.history.range(range).take(limit.saturating_add(1)).collect(),
            at => self.history.range_at(range, at)?,
        };
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        let size: usize = kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        match self.max_answer {
            Some(max) if size > max => Err(Cause::TooLarge(format!("{size} bytes, limit {max}"))),
            _ => Ok(RangeResult { header: self.header(), kvs, more }),
        }
    }
}

// === impl Backend ===

impl Backend for Fake {
    fn range(&self, range: Range) -> Pending<'_, RangeResult> {
        Box::pin(async move {
            let key = range.key.clone();
            self.request(Operation::Range, &key, |state| state.range(&range)).await
        })
    }

    fn put(&self, key: Bytes, value: Bytes, lease: Option<LeaseId>) -> Pending<'_, Header> {
        Box::pin(async move {
            let subject = key.clone();
            self.request(Operation::Put, &subject, |state| {
                state.check_lease(lease)?;
                let revision = state.history.begin();
                state.history.put(key, value, lease, revision);
                Ok(state.header())
            })
            .await
        })
    }

    fn delete(&self, key: Bytes) -> Pending<'_, (Header, i64)> {
        Box::pin(async move {
            self.request(Operation::Delete, &key, |state| {
                let result = state.txn(&Txn::when([]).then([Op::Delete { key: key.clone() }]))?;
                let count = result.results.first().map_or(0, |r| if let OpResult::Deleted(n) = r { *n } else { 0 });
                Ok((result.header, count))
            })
            .await
        })
    }

    fn txn(&self, txn: Txn) -> Pending<'_, TxnResult> {
        Box::pin(async move { self.request(Operation::Txn, &txn.subject(), |state| state.txn(&txn)).await })
    }

    fn watch(&self, range: Range, from: Revision) -> Pending<'_, Box<dyn WatchStream>> {
        Box::pin(async move {
            let changed = self.0.changed.subscribe();
            let key = range.key.clone();
            let (next, cuts) = self
                .request(Operation::Watch, &key, |state| {
                    Ok((if from == 0 { state.history.revision() + 1 } else { from }, state.cuts))
                })
                .await?;
            let stream = FakeWatch { fake: self.clone(), range, next, cuts, changed };
            Ok(Box::new(stream) as Box<dyn WatchStream>)
        })
    }

    fn lease_grant(&self, ttl: Duration) -> Pending<'_, LeaseGrant> {
        Box::pin(async move {
            self.request(Operation::LeaseGrant, b"new", |state| {
                state.next_lease += 1;
                let id = LeaseId(state.next_lease);
                state.leases.insert(id, Lease { ttl, expires: state.now + ttl });
                Ok(LeaseGrant { id, ttl })
            })
            .await
        })
    }

    fn lease_keep_alive(&self, lease: LeaseId) -> Pending<'_, Duration> {
        Box::pin(async move {
            self.request(Operation::LeaseKeepAlive, lease.to_string().as_bytes(), |state| {
                let now = state.now;
                let lease = state.leases.get_mut(&lease).ok_or(Cause::LeaseNotFound)?;
                lease.expires = now + lease.ttl;
                Ok(lease.ttl)
            })
            .await
        })
    }

    fn lease_time_left(&self, lease: LeaseId) -> Pending<'_, Duration> {
        Box::pin(async move {
            self.request(Operation::LeaseTimeLeft, lease.to_string().as_bytes(), |state| {
                let lease = state.leases.get(&lease).ok_or(Cause::LeaseNotFound)?;
                Ok(lease.expires.saturating_sub(state.now))
            })
            .await
        })
    }

    fn lease_revoke(&self, lease: LeaseId) -> Pending<'_, Header> {
        Box::pin(async move {
            self.request(Operation::LeaseRevoke, lease.to_string().as_bytes(), |state| {
                if state.revoke(lease) { Ok(state.header()) } else { Err(Cause::LeaseNotFound) }
            })
            .await
        })
    }

    fn compact(&self, revision: Revision) -> Pending<'_, ()> {
        Box::pin(async move {
            self.request(Operation::Compact, revision.to_string().as_bytes(), |state| state.history.compact(revision))
                .await
        })
    }

    fn status(&self) -> Pending<'_, ServerStatus> {
        Box::pin(async move {
            self.request(Operation::Status, b"store", |state| {
                Ok(ServerStatus { header: state.header(), version: "fake".into(), has_leader: true, db_size: 0 })
            })
            .await
        })
    }
}

// === impl FakeWatch ===

impl WatchStream for FakeWatch {
    fn next(&mut self) -> Pending<'_, WatchBatch> {
        Box::pin(async move {
            let failed = |range: &Range, cause| Err(Error::new(Operation::Watch, &range.key, cause));
            loop {
                self.changed.mark_unchanged();
                {
                    let state = self.fake.0.state.lock();
                    if state.cuts != self.cuts || state.unavailable {
                        return failed(&self.range, Cause::WatchEnded("cut".into()));
                    }
                    if self.next <= state.history.compacted() {
                        return failed(&self.range, Cause::Compacted(state.history.compacted()));
                    }
                    let events = state.history.events(&self.range, self.next);
                    self.next = self.next.max(state.history.revision() + 1);
                    if !events.is_empty() {
                        return Ok(WatchBatch { header: state.header(), events });
                    }
                }
                if self.changed.changed().await.is_err() {
                    return failed(&self.range, Cause::WatchEnded("the store is gone".into()));
                }
            }
        })
    }
}
