//! A cold list of addresses, from the page as the store's client hands it over to table `ips`, on one core: the real
//! follower, decoder, rules and writer, over a store that has its pages ready. One JSON line a figure.
//! `cargo bench -p reflector --bench list [-- ENTRIES]`.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kvstore::{
    Backend, Header, KeyValue, LeaseGrant, LeaseId, Pending, Range, RangeResult, Revision, ServerStatus, Txn,
    TxnResult, WatchStream,
};
use model::{ClusterId, ClusterIdLayout, Source};
use reflector::{Import, Metrics, StoreHealth};
use statedb::table;

#[path = "list/entries.rs"]
mod entries;

/// A store of addresses that answers lists and nothing else.
struct Lister {
    keys: Vec<String>,
    /// Spent on making pages, which is the network's and the store's work.
    nanos: Arc<AtomicU64>,
}

impl Lister {
    fn page(&self, range: &Range) -> RangeResult {
        let started = on_cpu();
        let start = self.keys.partition_point(|key| key.as_bytes() < &range.key[..]);
        let keys = &self.keys[start..(start + range.limit as usize).min(self.keys.len())];
        let kvs = (start..).zip(keys).map(|(at, key)| entries::key_value(key, at as u64)).collect();
        let more = start + keys.len() < self.keys.len();
        self.nanos.fetch_add(on_cpu() - started, Ordering::Relaxed);
        RangeResult { header: Header { cluster_id: 1, revision: self.keys.len() as i64 + 1 }, kvs, more }
    }
}

/// Everything but a list waits for ever.
fn never<'a, T: Send + 'a>() -> Pending<'a, T> {
    Box::pin(std::future::pending())
}

impl Backend for Lister {
    fn range(&self, range: Range) -> Pending<'_, RangeResult> {
        let page = self.page(&range);
        Box::pin(std::future::ready(Ok(page)))
    }

    fn put(&self, _: Bytes, _: Bytes, _: Option<LeaseId>) -> Pending<'_, Header> {
        never()
    }

    fn delete(&self, _: Bytes) -> Pending<'_, (Header, i64)> {
        never()
    }

    fn txn(&self, _: Txn) -> Pending<'_, TxnResult> {
        never()
    }

    fn watch(&self, _: Range, _: Revision) -> Pending<'_, Box<dyn WatchStream>> {
        never()
    }

    fn lease_grant(&self, _: Duration) -> Pending<'_, LeaseGrant> {
        never()
    }

    fn lease_keep_alive(&self, _: LeaseId) -> Pending<'_, Duration> {
        never()
    }

    fn lease_time_left(&self, _: LeaseId) -> Pending<'_, Duration> {
        never()
    }

    fn lease_revoke(&self, _: LeaseId) -> Pending<'_, Header> {
        never()
    }

    fn compact(&self, _: Revision) -> Pending<'_, ()> {
        never()
    }

    fn status(&self) -> Pending<'_, ServerStatus> {
        never()
    }
}

fn main() {
    let asked = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let count: u64 = asked.unwrap_or(500_000);
    let keys = entries::keys(count);
    let values: usize = (0..1000).map(|at| size(&entries::key_value(&keys[at], at as u64))).sum();
    let nanos = Arc::new(AtomicU64::new(0));
    let store = Arc::new(Lister { keys, nanos: Arc::clone(&nanos) });
    let cluster: model::ClusterName = "west".parse().unwrap();
    let import = Import {
        store,
        cluster,
        source: Source::ClusterMesh,
        cached: false,
        rejected: table().0,
        alarms: table().0,
        metrics: Metrics::unregistered(),
        health: StoreHealth::new(Duration::from_secs(900)),
        border: None,
        exporter: None,
        quota: usize::MAX,
    };
    let (writer, reader) = table();
    let before = resident();
    let started = on_cpu();
    let id = ClusterId::try_new(2).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let rows = runtime.block_on(async {
        let import = import.ips(id, ClusterIdLayout::Max255, writer);
        tokio::select! {
            () = import => 0,
            snapshot = reader.wait_for(statedb::Snapshot::is_initialised) => snapshot.len(),
        }
    });
    let total = on_cpu() - started;
    assert_eq!(rows as u64, count, "every entry becomes a row");
    let seconds = (total - nanos.load(Ordering::Relaxed)) as f64 / 1e9;
    let mebibytes = (peak() - before) >> 20;
    println!(
        r#"{{"name":"core time of a cold list of {count} ip entries ({} B each) to table","value":{seconds:.3},"unit":"s","aim":{}}}"#,
        values / 1000,
        count as f64 / 500_000.0
    );
    println!(r#"{{"name":"time an entry","value":{:.0},"unit":"ns"}}"#, seconds * 1e9 / count as f64);
    println!(r#"{{"name":"memory at the peak of the list","value":{mebibytes},"unit":"MiB"}}"#);
    drop(runtime);
    let bytes = (resident() - before) / count;
    println!(r#"{{"name":"memory of an entry in table ips, texts included","value":{bytes},"unit":"B"}}"#);
    assert_eq!(reader.snapshot().len() as u64, count);
}

fn size(kv: &KeyValue) -> usize {
    kv.key.len() + kv.value.len()
}

/// Nanoseconds that this thread has been on a core: what else runs on the machine does not count.
fn on_cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

fn resident() -> u64 {
    status("RssAnon:")
}

fn peak() -> u64 {
    status("VmHWM:").saturating_sub(status("RssFile:"))
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}
