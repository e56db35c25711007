//! Clients that write as fast as they are let, and how long each write took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use etcd_client::Client;
use tokio::task::JoinSet;

/// What is written.
pub(super) struct Work {
    pub(super) prefix: String,
    pub(super) key_bytes: usize,
    pub(super) value_bytes: usize,
    /// Writes a second; none: as fast as it goes.
    pub(super) per_sec: Option<u64>,
    pub(super) until: Until,
}

pub(super) enum Until {
    Passed(Duration),
    Written(u64),
}

/// What came of it.
#[derive(Default)]
pub(super) struct Report {
    pub(super) took: Vec<Duration>,
    pub(super) errors: BTreeMap<String, usize>,
    pub(super) whole: Duration,
}

/// Writes with all clients until the work is done.
pub(super) async fn write(clients: &[Client], work: Work) -> Result<Report> {
    let (work, next, began) = (Arc::new(work), Arc::new(AtomicU64::new(0)), Instant::now());
    // It owns the tasks, and ends them when it is dropped.
    let mut writers = JoinSet::new();
    for client in clients {
        writers.spawn(write_with(client.clone(), work.clone(), next.clone(), began));
    }
    let mut report = Report::default();
    while let Some(part) = writers.join_next().await {
        let part = part?;
        report.took.extend(part.took);
        for (error, count) in part.errors {
            *report.errors.entry(error).or_default() += count;
        }
    }
    report.whole = began.elapsed();
    Ok(report)
}

async fn write_with(mut client: Client, work: Arc<Work>, next: Arc<AtomicU64>, began: Instant) -> Report {
    let mut report = Report::default();
    let value = vec![0; work.value_bytes];
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let due =
            work.per_sec.map_or(Duration::ZERO, |per_sec| Duration::from_secs_f64(number as f64 / per_sec as f64));
        match work.until {
            Until::Passed(end) if due.max(began.elapsed()) >= end => return report,
            Until::Written(count) if number >= count => return report,
            Until::Passed(_) | Until::Written(_) => {}
        }
        tokio::time::sleep_until((began + due).into()).await;
        // Neighbours in time are none in order, as with random keys; an odd factor makes no key twice.
        let key = format!("{}{:016x}", work.prefix, number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let key = format!("{key:0<width$}", width = work.prefix.len() + work.key_bytes);
        let asked = Instant::now();
        match client.put(key, value.clone(), None).await {
            Ok(_) => report.took.push(asked.elapsed()),
            Err(error) => *report.errors.entry(error.to_string()).or_default() += 1,
        }
    }
}

// === impl Report ===

impl Report {
    pub(super) fn per_sec(&self) -> f64 {
        self.took.len() as f64 / self.whole.as_secs_f64()
    }

    pub(super) fn slowest_secs(&self) -> f64 {
        self.took.iter().max().map_or(0.0, Duration::as_secs_f64)
    }

    pub(super) fn deviation_secs(&self) -> f64 {
        let count = self.took.len().max(1) as f64;
        let mean = self.took.iter().map(Duration::as_secs_f64).sum::<f64>() / count;
        let squares = self.took.iter().map(|took| (took.as_secs_f64() - mean).powi(2)).sum::<f64>();
        (squares / count).sqrt()
    }
}
