//! The loops that carry state onward: what waits in each, and what failed last.

use api::Controller;
use tables::{EndpointState, Grant};

use super::Health;

// === impl Health ===

impl Health {
    /// Every loop, in the order in which state flows through them.
    pub(crate) fn controllers(&self) -> Vec<Controller> {
        let exports = self.store.exports.summary();
        let datapath = self.datapath.borrow().clone();
        let lag = |table: u64, kernel: u64| usize::try_from(table.saturating_sub(kernel)).unwrap_or(usize::MAX);
        let tables = &self.tables;
        let realizes = |name: &str, backlog: usize, own: Option<String>| {
            let error = own.or_else(|| datapath.error.clone());
            controller(name, backlog, usize::from(error.is_some()), error)
        };
        let overflowed = (!datapath.overflowed.is_empty()).then(|| {
            let sets = datapath.overflowed.iter().map(ToString::to_string).collect::<Vec<_>>();
            format!("policy sets are full, endpoints locked down: {}", sets.join(", "))
        });
        vec![
            self.identities(),
            self.endpoints(),
            realizes(
                "datapath-policy",
                lag(tables.policy_map.read.snapshot().revision(), datapath.policy_revision),
                overflowed,
            ),
            realizes(
                "datapath-ipcache",
                lag(tables.ipcache.read.snapshot().revision(), datapath.ipcache_revision),
                None,
            ),
            realizes(
                "datapath-services",
                lag(tables.frontends.read.snapshot().revision(), datapath.frontends_revision),
                None,
            ),
            realizes("datapath-endpoints", datapath.waiting, None),
            controller("export-to-kvstore", exports.backlog, exports.failing, exports.last_error),
        ]
    }

    /// Label sets that wait for a number.
    fn identities(&self) -> Controller {
        let grants = self.tables.grants.read.snapshot();
        let requests = self.tables.requests.read.snapshot();
        let granted = |request: &tables::IdentityRequest| {
            grants.get(&request.labels).is_some_and(|row| matches!(row.grant, Grant::Identity(_)))
        };
        let waiting = requests.iter().filter(|request| !granted(request)).count();
        let failed = grants.iter().filter_map(|row| match &row.grant {
            Grant::Failed(why) => Some(format!("{}: {why}", row.labels)),
            Grant::Identity(_) => None,
        });
        let failed: Vec<String> = failed.collect();
        controller("identity-allocator", waiting, failed.len(), failed.into_iter().next())
    }

    /// Endpoints on their way.
    fn endpoints(&self) -> Controller {
        let rows = self.tables.endpoints.read.snapshot();
        let on_their_way = rows.iter().filter(|row| row.state != EndpointState::Ready).count();
        controller("endpoints", on_their_way, 0, None)
    }
}

fn controller(name: &str, backlog: usize, failing: usize, last_error: Option<String>) -> Controller {
    Controller { name: name.to_owned(), backlog, failing, last_error }
}
