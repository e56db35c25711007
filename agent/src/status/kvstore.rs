//! The store's line of the status, and the probe that keeps it true.

use std::sync::Arc;
use std::time::Duration;

use api::{KvstoreDetail, State, Status};
use kvstore::{Address, Backend, Client, ServerStatus};
use parking_lot::Mutex;

use super::Health;

/// A connection that has not been used for this long is asked whether it still works.
const PROBE: Duration = Duration::from_secs(5);

/// How long an endpoint may take to accept a connection before it counts as unreachable.
const ACCEPT: Duration = Duration::from_millis(500);

/// What the store last said of itself.
pub(crate) type Probed = Arc<Mutex<Option<ServerStatus>>>;

// === impl Health ===

impl Health {
    /// The store's line, as Cilium prints it, and the numbers in it.
    pub(super) async fn kvstore(&self) -> (Status, KvstoreDetail) {
        let connection = self.store.client.connection_status();
        let server = self.store.probed.lock().clone();
        let quorum = self.store.quorum.status();
        let endpoints = self.store.endpoints.clone();
        // With one endpoint the connection itself is the best witness, and asking costs the server a log line.
        let connected = match endpoints.len() {
            0 | 1 => usize::from(connection.connected),
            _ => reachable(&endpoints).await,
        };
        let heartbeats = self.store.freshness.heartbeats(runtime::now());
        let heartbeat = heartbeats.into_iter().find(|(cluster, _)| *cluster == self.cluster).map(|(_, age)| age);
        let detail = KvstoreDetail {
            connected,
            quorum: connection.connected
                && quorum.consecutive_errors == 0
                && server.as_ref().is_none_or(|server| server.has_leader),
            version: server.map(|server| server.version),
            cluster_id: (connection.header.cluster_id != 0).then(|| format!("{:x}", connection.header.cluster_id)),
            leases: self.store.leases.count(),
            lock_leases: self.store.lock_leases.count(),
            heartbeat_age: heartbeat.map(|age| age.as_secs_f64()),
            last_answer_age: connection.last_success.map(|at| at.elapsed().as_secs_f64()),
            failures: connection.failures,
            endpoints,
        };
        let total = detail.endpoints.len().max(1);
        let counts =
            format!("{connected}/{total} connected, leases={}, lock leases={}", detail.leases, detail.lock_leases);
        if !connection.connected {
            let why = connection.last_error.unwrap_or_else(|| "not connected yet".to_owned());
            let since = match detail.last_answer_age {
                Some(age) => format!("last answer {age:.0} s ago"),
                None => "never answered".to_owned(),
            };
            return (Status { state: State::Failure, msg: format!("etcd: {counts}, {since}: {why}") }, detail);
        }
        let beat = match detail.heartbeat_age {
            Some(age) => format!("heartbeat {age:.0} s ago"),
            None => "no heartbeat seen".to_owned(),
        };
        let stale = detail.heartbeat_age.is_some_and(|age| age > wire::heartbeat::STALE_SECS as f64);
        if quorum.consecutive_errors > self.store.max_quorum_errors {
            let (failed, why) = (quorum.consecutive_errors, quorum.last_error.unwrap_or_default());
            let msg = format!("etcd: {counts}, has-quorum=false: quorum check failed {failed} times in a row: {why}");
            return (Status { state: State::Failure, msg }, detail);
        }
        let state = if !detail.quorum || stale { State::Warning } else { State::Ok };
        let hint = if stale { ": does the cluster's operator run?" } else { "" };
        let msg = format!(
            "etcd: {counts}, has-quorum={}: {} - {}, ID: {}, {beat}{hint}",
            detail.quorum,
            detail.endpoints.join(" "),
            detail.version.as_deref().unwrap_or("version not known yet"),
            detail.cluster_id.as_deref().unwrap_or("0"),
        );
        (Status { state, msg }, detail)
    }
}

/// How many endpoints accept a connection.
async fn reachable(endpoints: &[String]) -> usize {
    let mut asked = tokio::task::JoinSet::new();
    for endpoint in endpoints {
        let address = Address::of(endpoint);
        let accepts = async move {
            match address {
                Address::Tcp { authority, .. } => tokio::net::TcpStream::connect(authority).await.map(drop),
                Address::Unix(path) => tokio::net::UnixStream::connect(path).await.map(drop),
            }
        };
        asked.spawn(async move { tokio::time::timeout(ACCEPT, accepts).await.is_ok_and(|tried| tried.is_ok()) });
    }
    asked.join_all().await.into_iter().filter(|reached| *reached).count()
}

/// Asks the store now and then, so that an idle agent notices its loss; runs until the future is dropped.
pub(crate) async fn probe(client: Arc<Client>, probed: Probed) {
    let mut was_connected = None;
    loop {
        match client.status().await {
            Ok(status) => *probed.lock() = Some(status),
            Err(error) if was_connected != Some(false) => {
                tracing::warn!(error = error.full(), "kvstore does not answer; the datapath goes on with what it has");
            }
            Err(_) => {}
        }
        let connected = client.connection_status().connected;
        if connected && was_connected == Some(false) {
            tracing::info!("kvstore answers again");
        }
        was_connected = Some(connected);
        tokio::time::sleep(PROBE).await;
    }
}
