//! The task that keeps kernel and tables together: the clock, the waiting, the retries.

use crate::{Datapath, Journal, Reconciler, Status, Tables, conntrack, kernel::Pinned, routes::Routes};
use statedb::{Changes, Reader, Writer};
use std::time::{Duration, Instant};
use tables::{NodeRow, Realized};
use tokio::sync::watch;

/// Everything is compared this often, against changes behind our back.
const COMPARE: Duration = Duration::from_secs(300);
/// First wait after a failure; doubles up to [`MAX_BACKOFF`].
const BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// First wait between collections of expired flows; adapts within [`GC_BOUNDS`], as Cilium's does.
const GC: Duration = Duration::from_secs(300);
const GC_BOUNDS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(12 * 3600));
/// Shares of deleted entries below and above which the interval grows and shrinks.
const GC_CALM: f64 = 0.05;
const GC_BUSY: f64 = 0.25;

/// What the driver works with.
pub struct Inputs {
    pub datapath: Datapath,
    pub tables: Tables,
    pub nodes: Reader<NodeRow>,
    pub realized: Writer<Realized>,
    /// Where every write is noted.
    pub journal: Journal,
}

/// Runs until the future is dropped; `status` hears of every change. Must be polled on a thread of
/// the node's network namespace: routes are set in it.
pub async fn run(inputs: Inputs, status: watch::Sender<Status>) {
    let Inputs { datapath, tables, nodes, realized, journal } = inputs;
    let mut reconciler = Reconciler::new(datapath.kernel().with_journal(journal), &tables, realized);
    let mut routes = Routes::new(datapath.config(), datapath.devices().host);
    let mut node_changes = nodes.changes();
    let mut settled = datapath.replaced_maps().is_empty();
    let mut backoff = BACKOFF;
    let mut compare_at = runtime::now() + COMPARE;
    let mut routes_due = true;
    let (mut gc, mut gc_at) = (GC, runtime::now() + GC);
    loop {
        let mut retry_at = None;
        match reconciler.round() {
            Ok(now) if now.pruned && !settled => match datapath.settle() {
                Ok(()) => settled = true,
                Err(error) => tracing::error!(%error, "replace programs"),
            },
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = %error, source = ?std::error::Error::source(&error), "write maps");
                retry_at = Some(runtime::now() + backoff);
            }
        }
        if routes_due {
            match set_routes(&mut routes, &mut node_changes) {
                Ok(()) => routes_due = false,
                Err(error) => {
                    tracing::warn!(error = %error, source = ?std::error::Error::source(&error), "set routes");
                    retry_at.get_or_insert(runtime::now() + backoff);
                }
            }
        }
        backoff = if retry_at.is_some() { (backoff * 2).min(MAX_BACKOFF) } else { BACKOFF };
        status.send_if_modified(|known| {
            let changed = known != reconciler.status();
            known.clone_from(reconciler.status());
            changed
        });
        let feeds = &mut reconciler.feeds;
        let retry = retry_at.unwrap_or(compare_at);
        tokio::select! {
            // After a failure nothing but time helps.
            () = feeds.endpoints.wait(), if retry_at.is_none() => {}
            () = feeds.ipcache.wait(), if retry_at.is_none() => {}
            () = feeds.policy.wait(), if retry_at.is_none() => {}
            () = feeds.frontends.wait(), if retry_at.is_none() => {}
            () = feeds.progress.wait(), if retry_at.is_none() => {}
            () = node_changes.wait(), if retry_at.is_none() => routes_due = true,
            () = runtime::sleep_until(Some(retry)) => {}
            () = runtime::sleep_until(Some(gc_at)) => {
                let start = Instant::now();
                let collected = collect(reconciler.kernel());
                reconciler.note_collection(collected, start.elapsed());
                gc = collected.map_or(gc, |collected| next_interval(gc, collected));
                gc_at = runtime::now() + gc;
            }
        }
        if runtime::now() >= compare_at {
            compare_at = runtime::now() + COMPARE;
            reconciler.compare_next();
            routes.compare_next();
            routes_due = true;
        }
    }
}

fn set_routes(routes: &mut Routes, nodes: &mut Changes<NodeRow>) -> Result<(), crate::Error> {
    let (changes, snapshot) = nodes.drain_with_snapshot();
    for change in &changes {
        routes.handle(change);
    }
    let changed = routes.apply(snapshot.is_initialised())?;
    if changed > 0 {
        tracing::debug!(changed, "routes to pods");
    }
    Ok(())
}

/// Collects; `None`, and a line in the log, when that fails.
fn collect(kernel: &mut Pinned) -> Option<conntrack::Collected> {
    let result = conntrack::now().map(|now| conntrack::collect(kernel, now));
    let collected = match result {
        Ok(Ok(collected)) => collected,
        Ok(Err(error)) => {
            tracing::warn!(%error, "collect expired flows");
            return None;
        }
        Err(error) => {
            tracing::warn!(%error, "read the clock");
            return None;
        }
    };
    tracing::debug!(?collected, "expired flows collected");
    Some(collected)
}

fn next_interval(interval: Duration, collected: conntrack::Collected) -> Duration {
    let total = collected.live + collected.deleted;
    if total == 0 {
        return interval;
    }
    let share = collected.deleted as f64 / total as f64;
    let next = if share < GC_CALM {
        interval.mul_f64(1.5)
    } else if share > GC_BUSY {
        interval.mul_f64(1.0 - share)
    } else {
        interval
    };
    next.clamp(GC_BOUNDS.0, GC_BOUNDS.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::Collected;

    #[test]
    fn collection_adapts_to_what_it_finds() {
        fn check(live: usize, deleted: usize, secs: f64) {
            let next = next_interval(Duration::from_secs(100), Collected { live, deleted });
            assert!((next.as_secs_f64() - secs).abs() < 0.01, "{live} {deleted}: {next:?}");
        }
        check(0, 0, 100.0);
        check(99, 1, 150.0);
        check(80, 20, 100.0);
        check(50, 50, 50.0);
        check(0, 100, 10.0);
    }
}
