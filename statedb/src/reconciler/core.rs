//! What a reconciler has to do next, without doing it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Op, Options};
use crate::{Change, Row, RowRef, Snapshot};

/// How one row stands outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The revision that was last applied, or tried.
    pub revision: u64,
    /// Failed tries since the last success; 0 when the row is in place.
    pub failures: u32,
    /// Why the last try failed.
    pub error: Option<String>,
    /// Whether the row is on its way out.
    pub deleting: bool,
}

/// How a reconciler stands, for status lines and metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows in place.
    pub done: usize,
    /// Rows that wait for their first try or a retry.
    pub backlog: usize,
    /// Rows whose last try failed.
    pub failing: usize,
    /// One of the errors.
    pub last_error: Option<String>,
    /// Whether what has no row was removed since the start.
    pub pruned: bool,
}

/// The state machine of one reconciler.
pub struct Core<R: Row> {
    options: Options,
    rows: BTreeMap<R::Key, Status>,
    /// What deleted rows last were: a target needs more than the key to remove them.
    deleted: BTreeMap<R::Key, RowRef<R>>,
    due: BTreeSet<(Instant, R::Key)>,
    waiting: BTreeMap<R::Key, Instant>,
    pruned: bool,
    prune_error: Option<String>,
    resync_at: Option<Instant>,
    prune_at: Option<Instant>,
}

// === impl Core ===

impl<R: Row> Core<R> {
    /// A reconciler that has seen nothing.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            rows: BTreeMap::new(),
            deleted: BTreeMap::new(),
            due: BTreeSet::new(),
            waiting: BTreeMap::new(),
            pruned: false,
            prune_error: None,
            resync_at: None,
            prune_at: None,
        }
    }

    /// Takes note of changes; a change ends a row's back-off, because what failed is no longer what is wanted.
    pub fn handle_changes(&mut self, now: Instant, changes: &[Change<R>]) {
        for change in changes {
            let key = change.row().key();
            let deleting = matches!(change, Change::Delete(_));
            if deleting {
                self.deleted.insert(key.clone(), change.row().clone());
            } else {
                self.deleted.remove(&key);
            }
            let status = Status { revision: 0, failures: 0, error: None, deleting };
            self.rows.insert(key.clone(), status);
            self.schedule(key, now);
        }
        self.resync_at.get_or_insert(now + self.options.resync);
    }

    /// The next operations, oldest first, at most a batch. `live` decides between update and delete.
    pub fn poll_batch(&mut self, now: Instant, live: &Snapshot<R>) -> Vec<Op<R>> {
        if self.resync_at.is_some_and(|at| at <= now) {
            self.resync_at = Some(now + self.options.resync);
            self.prune_at = Some(now);
            for key in self.rows.keys().cloned().collect::<Vec<_>>() {
                if !self.waiting.contains_key(&key) {
                    self.schedule(key, now);
                }
            }
        }
        let mut batch = Vec::new();
        while batch.len() < self.options.batch {
            let Some((at, key)) = self.due.first().cloned() else { break };
            if at > now {
                break;
            }
            self.due.pop_first();
            self.waiting.remove(&key);
            match live.get(&key) {
                Some(row) => batch.push(Op::Update(row.clone())),
                None => batch.extend(self.deleted.get(&key).cloned().map(Op::Delete)),
            }
        }
        batch
    }

    /// Notes what became of a batch; returns the rows that failed, for the log.
    pub fn handle_results(
        &mut self,
        now: Instant,
        batch: &[Op<R>],
        results: Vec<Result<(), String>>,
    ) -> Vec<(R::Key, String)> {
        debug_assert_eq!(batch.len(), results.len(), "a target answers every operation");
        let mut failed = Vec::new();
        for (op, result) in batch.iter().zip(results) {
            let (row, deleting) = match op {
                Op::Update(row) => (row, false),
                Op::Delete(row) => (row, true),
            };
            let key = row.key();
            let Some(status) = self.rows.get_mut(&key) else { continue };
            status.revision = row.revision();
            match result {
                Ok(()) if deleting => {
                    self.rows.remove(&key);
                    self.deleted.remove(&key);
                }
                Ok(()) => {
                    status.failures = 0;
                    status.error = None;
                }
                Err(error) => {
                    status.failures += 1;
                    status.error = Some(error.clone());
                    let doubled = self.options.backoff.saturating_mul(1 << status.failures.min(16).saturating_sub(1));
                    let wait = doubled.min(self.options.max_backoff);
                    self.schedule(key.clone(), now + wait);
                    failed.push((key, error));
                }
            }
        }
        failed
    }

    /// Whether to prune now: once after the table became initialised, and with every resync.
    pub fn poll_prune(&mut self, now: Instant, initialised: bool) -> bool {
        initialised && (!self.pruned && self.prune_error.is_none() || self.prune_at.is_some_and(|at| at <= now))
    }

    /// Notes what became of a prune.
    pub fn handle_prune(&mut self, now: Instant, result: Result<usize, String>) {
        match result {
            Ok(_) => {
                self.pruned = true;
                self.prune_error = None;
                self.prune_at = None;
            }
            Err(error) => {
                self.prune_error = Some(error);
                self.prune_at = Some(now + self.options.max_backoff);
            }
        }
    }

    /// When to poll again if nothing changes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| *at);
        [due, self.resync_at, self.prune_at].into_iter().flatten().min()
    }

    /// How the reconciler stands.
    pub fn summary(&self) -> Summary {
        let failing = self.rows.values().filter(|status| status.failures > 0);
        let last_error = failing.clone().find_map(|status| status.error.clone()).or_else(|| self.prune_error.clone());
        Summary {
            done: self.rows.len() - self.waiting.len(),
            backlog: self.waiting.len(),
            failing: failing.count(),
            last_error,
            pruned: self.pruned,
        }
    }

    /// How one row stands.
    pub fn status(&self, key: &R::Key) -> Option<&Status> {
        self.rows.get(key)
    }

    fn schedule(&mut self, key: R::Key, at: Instant) {
        if let Some(before) = self.waiting.insert(key.clone(), at) {
            self.due.remove(&(before, key.clone()));
        }
        self.due.insert((at, key));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Reader, Writer, table};

    #[derive(Debug, Clone, PartialEq)]
    struct Lamp(u32, bool);

    impl Row for Lamp {
        type Key = u32;
        const TABLE: &'static str = "lamps";
        const COLUMNS: &'static [&'static str] = &["Lamp", "On"];

        fn key(&self) -> u32 {
            self.0
        }

        fn cells(&self) -> Vec<String> {
            vec![self.0.to_string(), self.1.to_string()]
        }
    }

    struct Bench {
        core: Core<Lamp>,
        changes: crate::Changes<Lamp>,
        reader: Reader<Lamp>,
        writer: Writer<Lamp>,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let (writer, reader) = table();
            let core = Core::new(Options { batch: 2, ..Options::default() });
            Self { core, changes: reader.changes(), reader, writer, now: Instant::now() }
        }

        /// Lets `after` pass and answers one batch; the text is what was asked of the target.
        fn step(&mut self, after: Duration, answer: Result<(), &str>) -> String {
            self.now += after;
            let changes = self.changes.drain();
            self.core.handle_changes(self.now, &changes);
            let batch = self.core.poll_batch(self.now, &self.reader.snapshot());
            let results = batch.iter().map(|_| answer.map_err(str::to_owned)).collect();
            self.core.handle_results(self.now, &batch, results);
            let show = |op: &Op<Lamp>| match op {
                Op::Update(row) => format!("+{}", row.0),
                Op::Delete(row) => format!("-{}", row.0),
            };
            batch.iter().map(show).collect::<Vec<_>>().join(" ")
        }
    }

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn batches_are_bounded_and_oldest_first() {
        let mut bench = Bench::new();
        for lamp in [3, 1, 2] {
            bench.writer.upsert(Lamp(lamp, true));
        }
        assert_eq!(bench.step(NOW, Ok(())), "+1 +2");
        assert_eq!(bench.core.summary().backlog, 1);
        assert_eq!(bench.step(NOW, Ok(())), "+3");
        assert_eq!(bench.step(NOW, Ok(())), "");
        assert_eq!(bench.core.summary().done, 3);
    }

    #[test]
    fn failure_backs_off_doubling_and_a_change_ends_the_wait() {
        let mut bench = Bench::new();
        bench.writer.upsert(Lamp(1, true));
        assert_eq!(bench.step(NOW, Err("busy")), "+1");
        assert_eq!(bench.core.summary().last_error.as_deref(), Some("busy"));
        assert_eq!(bench.step(Duration::from_millis(49), Ok(())), "");
        assert_eq!(bench.step(Duration::from_millis(1), Err("busy")), "+1");
        assert_eq!(bench.step(Duration::from_millis(99), Ok(())), "");
        bench.writer.upsert(Lamp(1, false));
        assert_eq!(bench.step(NOW, Ok(())), "+1");
        assert_eq!(bench.core.summary(), Summary { done: 1, ..Summary::default() });
    }

    #[test]
    fn failed_delete_is_retried_with_the_row_it_was_and_forgotten_when_done() {
        let mut bench = Bench::new();
        bench.writer.upsert(Lamp(1, true));
        bench.step(NOW, Ok(()));
        bench.writer.delete(&1);
        assert_eq!(bench.step(NOW, Err("busy")), "-1");
        assert!(bench.core.status(&1).unwrap().deleting);
        assert_eq!(bench.step(Duration::from_secs(1), Ok(())), "-1");
        assert_eq!(bench.core.status(&1), None);
    }

    #[test]
    fn prunes_once_initialised_and_again_with_each_resync() {
        let mut bench = Bench::new();
        bench.writer.upsert(Lamp(1, true));
        assert_eq!(bench.step(NOW, Ok(())), "+1");
        assert!(!bench.core.poll_prune(bench.now, false));
        assert!(bench.core.poll_prune(bench.now, true));
        bench.core.handle_prune(bench.now, Ok(0));
        assert!(!bench.core.poll_prune(bench.now, true));
        assert_eq!(bench.step(Duration::from_secs(300), Ok(())), "+1");
        assert!(bench.core.poll_prune(bench.now, true));
    }
}
