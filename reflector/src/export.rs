//! Table `exports` to etcd: the keys of this process are as the table says, whoever else touches them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kvstore::{Backend, Cause, Compare, Error, Event, LeaseId, Leases, OpResult, Range, Txn, follow};
use parking_lot::Mutex;
use statedb::reconciler::{self, Handle, Op};
use statedb::{Reader, RowRef, Snapshot};
use tables::Export;
use tokio::sync::{Mutex as AsyncMutex, Notify};

/// etcd's default limit of operations in a transaction.
const MAX_OPS: usize = 128;

/// Keys are put again between one and two of these after they were lost: not all writers at once.
const JITTER: Duration = Duration::from_millis(250);

/// Between two attempts to put a lost key again.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the keys of table `exports`; clones are the same.
#[derive(Clone)]
pub struct Exporter(Arc<Inner>);

struct Inner {
    store: Arc<dyn Backend>,
    leases: Arc<Leases>,
    exports: Reader<Export>,
    /// Prefixes under which nobody else writes: what stands there without a row is deleted.
    owned: Vec<String>,
    /// Keys to look at again, and when.
    doubtful: Mutex<BTreeMap<Arc<str>, Instant>>,
    doubted: Notify,
    /// One writer at a time: a key put again must not overtake its own update.
    writing: AsyncMutex<Written>,
}

/// The revision of each row that was written.
type Written = HashMap<Arc<str>, u64>;

struct Target(Exporter);

// === impl Exporter ===

impl Exporter {
    /// `owned`: prefixes to prune once the table is initialised. Agents own none: their keys die with their leases.
    pub fn new(store: Arc<dyn Backend>, leases: Arc<Leases>, exports: Reader<Export>, owned: Vec<String>) -> Self {
        Self(Arc::new(Inner {
            store,
            leases,
            exports,
            owned,
            doubtful: Mutex::default(),
            doubted: Notify::new(),
            writing: AsyncMutex::default(),
        }))
    }

    /// Keeps the keys until the future is dropped.
    pub async fn run(self, handle: Handle<Export>) {
        let exports = self.0.exports.clone();
        tokio::select! {
            () = reconciler::run(exports, Target(self.clone()), handle) => {}
            () = self.reassert() => {}
            () = self.watch_leases() => {}
        }
    }

    /// Follows a prefix of ours for what others do to it, until the future is dropped. For prefixes that no import
    /// follows.
    pub async fn follow_own(self, prefix: String) {
        let (mut follower, driver) = follow(Arc::clone(&self.0.store), prefix);
        let watch = async {
            while let Some(events) = follower.next().await {
                let mut unproven = false;
                for event in events {
                    match event {
                        Event::Created(kv) | Event::Modified(kv) => self.handle_foreign(&kv.key, Some(&kv.value)),
                        Event::Deleted { key, .. } => self.handle_foreign(&key, None),
                        Event::StoreUnknown => self.handle_store_unknown(),
                        Event::Relisted { unproven: count } => unproven = count > 0,
                        Event::ListDone => {}
                    }
                }
                if unproven {
                    // Nothing hangs on these rows: what is missing is put again either way.
                    follower.accept_absence().await;
                }
            }
        };
        tokio::select! {
            () = driver => {}
            () = watch => {}
        }
    }

    /// A watch saw this key with this value, or deleted. Keys that are not ours are none of our business.
    pub fn handle_foreign(&self, key: &[u8], value: Option<&[u8]>) {
        let exports = self.0.exports.snapshot();
        if exports.is_empty() {
            return;
        }
        let Ok(key) = std::str::from_utf8(key) else { return };
        let key: Arc<str> = key.into();
        if exports.get(&key).is_some_and(|row| Some(&*row.value) != value) {
            self.doubt([key]);
        }
    }

    /// The store may have lost everything.
    pub fn handle_store_unknown(&self) {
        self.doubt(self.0.exports.snapshot().iter().map(|row| Arc::clone(&row.key)));
    }

    fn doubt(&self, keys: impl IntoIterator<Item = Arc<str>>) {
        let now = runtime::now();
        let mut doubtful = self.0.doubtful.lock();
        for key in keys {
            let jitter = JITTER.mul_f64(1.0 + rand::random::<f64>());
            doubtful.entry(key).or_insert(now + jitter);
        }
        drop(doubtful);
        self.0.doubted.notify_one();
    }

    async fn watch_leases(&self) {
        let mut lost = self.0.leases.lost_keys("");
        while let Some(key) = lost.recv().await {
            let mut keys = vec![key];
            while let Ok(key) = lost.try_recv() {
                keys.push(key);
            }
            let exports = self.0.exports.snapshot();
            let ours = keys.iter().filter_map(|key| std::str::from_utf8(key).ok().map(Arc::<str>::from));
            self.doubt(ours.filter(|key| exports.get(key).is_some()));
        }
    }

    /// Looks at doubtful keys and puts those again that are not as they shall be.
    async fn reassert(&self) {
        loop {
            let next = self.0.doubtful.lock().values().min().copied();
            tokio::select! {
                () = runtime::sleep_until(next) => {}
                () = self.0.doubted.notified() => continue,
            }
            let now = runtime::now();
            let due: Vec<Arc<str>> = {
                let mut doubtful = self.0.doubtful.lock();
                doubtful.extract_if(.., |_, at| *at <= now).map(|(key, _)| key).take(MAX_OPS).collect()
            };
            let mut written = self.0.writing.lock().await;
            let exports = self.0.exports.snapshot();
            let rows: Vec<RowRef<Export>> = due.iter().filter_map(|key| exports.get(key).cloned()).collect();
            let results = self.verify(&rows, &mut written).await;
            drop(written);
            let failed = rows.iter().zip(results).filter(|(_, result)| result.is_err());
            let failed: Vec<Arc<str>> = failed.map(|(row, _)| Arc::clone(&row.key)).collect();
            if !failed.is_empty() {
                let mut doubtful = self.0.doubtful.lock();
                doubtful.extend(failed.into_iter().map(|key| (key, now + RETRY)));
            }
        }
    }

    /// Reads the keys of these rows and puts those that differ in value or lease.
    async fn verify(&self, rows: &[RowRef<Export>], written: &mut Written) -> Vec<Result<(), String>> {
        if rows.is_empty() {
            return Vec::new();
        }
        let reads = rows.iter().map(|row| kvstore::Op::Range(Range::key(bytes(&row.key))));
        let answer = match self.0.store.txn(Txn::when([]).then(reads)).await {
            Ok(answer) => answer,
            Err(error) => return rows.iter().map(|_| Err(error.full())).collect(),
        };
        let held = self.0.leases.held();
        let mut results: Vec<Result<(), String>> = rows.iter().map(|_| Ok(())).collect();
        let mut wrong = Vec::new();
        for (index, (row, found)) in rows.iter().zip(answer.results).enumerate() {
            let OpResult::Range(found) = found else { continue };
            let right = found.first().is_some_and(|kv| {
                let lease = if row.leased { kv.lease.is_some_and(|l| held.contains(&l)) } else { kv.lease.is_none() };
                lease && kv.value[..] == row.value[..]
            });
            if right {
                written.insert(Arc::clone(&row.key), row.revision());
            } else {
                wrong.push((index, Op::Update(row.clone())));
            }
        }
        if !wrong.is_empty() {
            tracing::info!(keys = wrong.len(), first = &*rows[wrong[0].0].key, "keys of ours are put");
        }
        let (indexes, ops): (Vec<usize>, Vec<Op<Export>>) = wrong.into_iter().unzip();
        for (index, result) in indexes.into_iter().zip(self.write(&ops, written).await) {
            results[index] = result;
        }
        results
    }

    /// Carries out the operations, many in one transaction.
    async fn write(&self, ops: &[Op<Export>], written: &mut Written) -> Vec<Result<(), String>> {
        let mut outcome = Vec::with_capacity(ops.len());
        for run in transactions(ops) {
            outcome.extend(self.write_together(run, written).await);
        }
        outcome
    }

    /// Carries out the operations in one transaction.
    async fn write_together(&self, ops: &[Op<Export>], written: &mut Written) -> Vec<Result<(), String>> {
        let outcome = match self.transact(ops).await {
            Err(error) if !error.is_retryable() && ops.len() > 1 => {
                // One key spoils the transaction, or its lease is gone: let each stand for itself.
                let mut results = Vec::with_capacity(ops.len());
                for op in ops {
                    let one = self.transact(std::slice::from_ref(op)).await;
                    results.push(one.map_err(|error| error.full()));
                }
                results
            }
            outcome => {
                let outcome = outcome.map_err(|error| error.full());
                ops.iter().map(|_| outcome.clone()).collect()
            }
        };
        for (op, result) in ops.iter().zip(&outcome) {
            match (op, result) {
                (Op::Update(row), Ok(())) => drop(written.insert(Arc::clone(&row.key), row.revision())),
                (Op::Delete(row), Ok(())) => {
                    written.remove(&row.key);
                    self.0.leases.release(&bytes(&row.key));
                }
                (Op::Update(row) | Op::Delete(row), Err(_)) => drop(written.remove(&row.key)),
            }
        }
        outcome
    }

    /// One transaction, and another if the store does not know our lease.
    async fn transact(&self, ops: &[Op<Export>]) -> Result<(), Error> {
        let mut again = true;
        loop {
            let mut leases: Vec<LeaseId> = Vec::new();
            let mut list = Vec::with_capacity(ops.len());
            for op in ops {
                match op {
                    Op::Delete(row) => list.push(kvstore::Op::delete(bytes(&row.key))),
                    Op::Update(row) => {
                        let key = bytes(&row.key);
                        let lease = if row.leased { Some(self.0.leases.lease_for(&key).await?) } else { None };
                        leases.extend(lease.filter(|lease| !leases.contains(lease)));
                        list.push(kvstore::Op::put(key, Bytes::copy_from_slice(&row.value), lease));
                    }
                }
            }
            match self.0.store.txn(Txn::when([]).then(list)).await {
                // With several leases it is not known which one: each key then stands for itself.
                Err(error) if error.cause == Cause::LeaseNotFound && leases.len() == 1 && again => {
                    self.0.leases.handle_lease_not_found(leases[0]);
                    again = false;
                }
                answer => return answer.map(|_| ()),
            }
        }
    }
}

// === impl Target ===

impl reconciler::Target<Export> for Target {
    async fn apply(&mut self, batch: &[Op<Export>]) -> Vec<Result<(), String>> {
        let exporter = &self.0;
        let mut written = exporter.0.writing.lock().await;
        let mut results = Vec::with_capacity(batch.len());
        for part in batch.chunks(MAX_OPS) {
            let mut outcome: Vec<Result<(), String>> = part.iter().map(|_| Ok(())).collect();
            let (mut known, mut fresh) = (Vec::new(), Vec::new());
            for (index, op) in part.iter().enumerate() {
                match op {
                    // Look before writing, because each put wakes every reader of the mesh: at a periodic resync, and at
                    // what outlived whoever wrote it before us.
                    Op::Update(row) if written.get(&row.key).map_or(!row.leased, |at| *at == row.revision()) => {
                        known.push((index, row));
                    }
                    op => fresh.push((index, op.clone())),
                }
            }
            let (indexes, rows): (Vec<usize>, Vec<RowRef<Export>>) =
                known.into_iter().map(|(index, row)| (index, row.clone())).unzip();
            for (index, result) in indexes.into_iter().zip(exporter.verify(&rows, &mut written).await) {
                outcome[index] = result;
            }
            let (indexes, ops): (Vec<usize>, Vec<Op<Export>>) = fresh.into_iter().unzip();
            for (index, result) in indexes.into_iter().zip(exporter.write(&ops, &mut written).await) {
                outcome[index] = result;
            }
            results.extend(outcome);
        }
        results
    }

    async fn prune(&mut self, live: &Snapshot<Export>) -> Result<usize, String> {
        let inner = &self.0.0;
        let mut count = 0;
        for prefix in &inner.owned {
            let found = inner.store.range(Range::prefix(prefix.clone())).await.map_err(|error| error.full())?;
            for kv in found.kvs {
                let key = std::str::from_utf8(&kv.key).ok().map(Arc::<str>::from);
                if key.is_some_and(|key| live.get(&key).is_some()) {
                    continue;
                }
                // Only as it was read: somebody may have written it since.
                let delete = Txn::when([Compare::ModRevision(kv.key.clone(), kv.mod_revision)])
                    .then([kvstore::Op::delete(kv.key.clone())]);
                let answer = inner.store.txn(delete).await.map_err(|error| error.full())?;
                count += usize::from(answer.succeeded);
            }
        }
        Ok(count)
    }
}

/// Operations that go together: any number, but at most one delete of a leased key. Several at one revision look like
/// the end of a lease to readers, who then hold them.
fn transactions(ops: &[Op<Export>]) -> Vec<&[Op<Export>]> {
    let leased_delete = |op: &Op<Export>| matches!(op, Op::Delete(row) if row.leased);
    let (mut found, mut start) = (Vec::new(), 0);
    let mut deletes = false;
    for (index, op) in ops.iter().enumerate() {
        if leased_delete(op) && std::mem::replace(&mut deletes, true) {
            found.push(&ops[start..index]);
            start = index;
        }
    }
    if start < ops.len() {
        found.push(&ops[start..]);
    }
    found
}

fn bytes(key: &str) -> Bytes {
    Bytes::copy_from_slice(key.as_bytes())
}
