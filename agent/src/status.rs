//! How the parts of the agent stand, gathered for the API and the metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{Controller, SourceStaleness, State, Status};
use kvstore::{Backend, Client};
use runtime::Readiness;
use tokio::sync::watch;

use crate::store::Store;

/// A connection that has not been used for this long is asked whether it still works.
const PROBE: Duration = Duration::from_secs(5);

/// Where status is read from.
pub(crate) struct Health {
    pub(crate) readiness: Readiness,
    pub(crate) datapath: watch::Receiver<datapath::Status>,
    pub(crate) store: Store,
}

impl Health {
    /// The store's line, as Cilium prints it.
    pub(crate) fn kvstore(&self) -> Status {
        let status = self.store.client.connection_status();
        let leases = format!("leases={}", self.store.leases.count());
        if status.connected {
            let id = status.header.cluster_id;
            return Status {
                state: State::Ok,
                msg: format!("etcd: 1/1 connected, {leases}, has-quorum=true, ID: {id:x}"),
            };
        }
        let why = status.last_error.unwrap_or_else(|| "not connected yet".to_owned());
        let since = match status.last_success {
            Some(at) => format!("last answer {} s ago", at.elapsed().as_secs()),
            None => "never answered".to_owned(),
        };
        Status { state: State::Failure, msg: format!("etcd: 0/1 connected, {leases}, {since}: {why}") }
    }

    /// The loops that carry tables outward.
    pub(crate) fn controllers(&self) -> Vec<Controller> {
        let exports = self.store.exports.summary();
        let datapath = self.datapath.borrow().clone();
        vec![
            Controller {
                name: "export-to-kvstore".to_owned(),
                backlog: exports.backlog,
                failing: exports.failing,
                last_error: exports.last_error,
            },
            Controller {
                name: "datapath-maps".to_owned(),
                backlog: 0,
                failing: usize::from(datapath.error.is_some()) + datapath.overflowed.len(),
                last_error: datapath.error.or_else(|| {
                    let sets = datapath.overflowed.iter().map(ToString::to_string).collect::<Vec<_>>();
                    (!sets.is_empty())
                        .then(|| format!("policy sets are full, endpoints locked down: {}", sets.join(", ")))
                }),
            },
        ]
    }

    /// How old what each source last said is.
    pub(crate) fn staleness(&self) -> Vec<SourceStaleness> {
        let row = |age: &reflector::SourceAge| {
            let source = format!("{}/{}", age.cluster, age.resource);
            Some(SourceStaleness { source, seconds: age.age?.as_secs_f64() })
        };
        self.store.freshness.ages(Instant::now()).iter().filter_map(row).collect()
    }
}

/// Asks the store now and then, so that an idle agent notices its loss; runs until the future is dropped.
pub(crate) async fn probe(client: Arc<Client>) {
    let mut was_connected = None;
    loop {
        if let Err(error) = client.status().await
            && was_connected != Some(false)
        {
            tracing::warn!(error = error.full(), "kvstore does not answer; the datapath goes on with what it has");
        }
        let connected = client.connection_status().connected;
        if connected && was_connected == Some(false) {
            tracing::info!("kvstore answers again");
        }
        was_connected = Some(connected);
        tokio::time::sleep(PROBE).await;
    }
}
