//! What happened to endpoints, policy and remote clusters: a log per endpoint, and events for monitors.
//!
//! It reads tables; changes that follow each other within one look at them are one entry.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use api::{EndpointChange, Event, LabelledIdentity};
use model::EndpointId;
use parking_lot::Mutex;
use statedb::{Change, RowRef};
use tables::{Endpoint, EndpointState};
use tokio::sync::broadcast;

use crate::database::Tables;

/// Entries per endpoint.
const ENTRIES: usize = 64;

/// Deleted endpoints whose log is kept.
const GONE: usize = 128;

/// Events that a slow monitor may lag behind.
const BACKLOG: usize = 1024;

/// What happened. Clones share.
#[derive(Clone)]
pub(crate) struct History(Arc<Inner>);

struct Inner {
    logs: Mutex<Logs>,
    events: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Logs {
    by_endpoint: BTreeMap<EndpointId, VecDeque<EndpointChange>>,
    gone: VecDeque<EndpointId>,
}

// === impl History ===

impl Default for History {
    fn default() -> Self {
        Self(Arc::new(Inner { logs: Mutex::default(), events: broadcast::channel(BACKLOG).0 }))
    }
}

impl History {
    /// The changes of an endpoint, oldest first; `None` when it was never there.
    pub(crate) fn log(&self, id: EndpointId) -> Option<Vec<EndpointChange>> {
        self.0.logs.lock().by_endpoint.get(&id).map(|log| log.iter().cloned().collect())
    }

    /// Events from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// Follows the tables until the future is dropped.
    pub(crate) async fn follow(self, tables: Tables) {
        let mut endpoints = tables.endpoints.read.changes();
        let mut rules = tables.rules.read.changes();
        let mut remotes = tables.remote_clusters.read.changes();
        let mut alarms = tables.alarms.read.changes();
        let mut known: BTreeMap<EndpointId, RowRef<Endpoint>> = BTreeMap::new();
        let mut ready: BTreeMap<String, bool> = BTreeMap::new();
        loop {
            for change in endpoints.drain() {
                let row = change.row();
                let gone = matches!(change, Change::Delete(_));
                let before = if gone { known.remove(&row.id) } else { known.insert(row.id, row.clone()) };
                for (state, reason) in story(before.as_deref(), row, gone) {
                    self.note(row, state, reason);
                }
                if gone {
                    self.0.logs.lock().forget(row.id);
                }
            }
            for change in rules.drain() {
                let what = if matches!(change, Change::Delete(_)) { "deleted" } else { "in force" };
                self.tell(0, format!("Policy {}: {what}", change.row().rule.resource));
            }
            for change in remotes.drain() {
                let row = change.row();
                let now = !matches!(change, Change::Delete(_)) && row.is_ready();
                if ready.insert(row.name.to_string(), now) != Some(now) {
                    let what = if now { "ready".to_owned() } else { format!("not ready: {}", row.status) };
                    self.tell(0, format!("Remote cluster {}: {what}", row.name));
                }
            }
            for change in alarms.drain() {
                let row = change.row();
                let over = if matches!(change, Change::Delete(_)) { " (over)" } else { "" };
                self.tell(0, format!("Alarm {}: {}{over}", row.name, row.message));
            }
            tokio::select! {
                () = endpoints.wait() => {}
                () = rules.wait() => {}
                () = remotes.wait() => {}
                () = alarms.wait() => {}
            }
        }
    }

    fn note(&self, row: &Endpoint, state: String, reason: String) {
        self.tell(row.id.0, format!("Endpoint {} ({}/{}): {state}: {reason}", row.id, row.namespace, row.pod_name));
        let mut logs = self.0.logs.lock();
        let log = logs.by_endpoint.entry(row.id).or_default();
        if log.len() == ENTRIES {
            log.pop_front();
        }
        log.push_back(EndpointChange { time: now(), state, reason });
    }

    fn tell(&self, endpoint: u16, summary: String) {
        let nobody = || LabelledIdentity { identity: 0, labels: Vec::new() };
        // Without monitors nobody wants to hear it.
        let _ = self.0.events.send(Event {
            time: now(),
            kind: "agent".to_owned(),
            summary,
            reason: 0,
            direction: None,
            endpoint,
            source_endpoint: endpoint,
            destination_endpoint: endpoint,
            source: nobody(),
            destination: nobody(),
            tuple: None,
            bytes: 0,
            detail: Vec::new(),
        });
    }
}

// === impl Logs ===

impl Logs {
    /// An endpoint is gone; the oldest log of those that are goes.
    fn forget(&mut self, id: EndpointId) {
        self.gone.retain(|gone| *gone != id);
        self.gone.push_back(id);
        if self.gone.len() > GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.by_endpoint.remove(&oldest);
        }
    }
}

/// What the difference of two rows says: states with reasons.
fn story(before: Option<&Endpoint>, row: &Endpoint, gone: bool) -> Vec<(String, String)> {
    if gone {
        return vec![("deleted".to_owned(), "its addresses are free again".to_owned())];
    }
    let mut told = Vec::new();
    let state = || row.state.to_string();
    if before.is_none() && row.state != EndpointState::Restoring {
        let ips = row.ips().map(|ip| ip.to_string()).collect::<Vec<_>>().join(", ");
        told.push((EndpointState::WaitingForIdentity.to_string(), format!("created by CNI with {ips}")));
    }
    if let Some(before) = before
        && before.labels != row.labels
    {
        told.push((state(), format!("labels are now {}", row.labels)));
    }
    if before.and_then(|before| before.identity) != row.identity
        && let Some(identity) = row.identity
    {
        let from = before.and_then(|before| before.identity).map(|from| format!(" instead of {from}"));
        told.push((state(), format!("identity {identity}{} granted for {}", from.unwrap_or_default(), row.labels)));
    }
    if before.map(|before| before.state) != Some(row.state) {
        let reason = match row.state {
            EndpointState::WaitingForIdentity => return told,
            EndpointState::Regenerating => "its policy and addresses are being written to the kernel",
            EndpointState::Ready => "its policy and addresses are in the kernel, its programs are attached",
            EndpointState::Restoring => "taken over from an earlier run; it forwards as before",
            EndpointState::Disconnecting => "deleted by CNI; it is being taken off the kernel",
        };
        told.push((state(), reason.to_owned()));
    }
    told
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::NumericIdentity;
    use statedb::Database;

    use super::*;

    fn endpoint(id: u16, state: EndpointState, identity: Option<u32>) -> Endpoint {
        Endpoint {
            id: EndpointId(id),
            container_id: "c".into(),
            netns: "".into(),
            container_ifname: "eth0".into(),
            host_ifname: "lxc1".into(),
            host_ifindex: 1,
            mac: Default::default(),
            host_mac: Default::default(),
            ipv4: Some("10.1.1.1".parse().unwrap()),
            ipv6: None,
            namespace: "shop".into(),
            pod_name: "cart".into(),
            service_account: "".into(),
            named_ports: Vec::new(),
            labels: "k8s:app=cart".parse().map(|label: model::Label| [label].into_iter().collect()).unwrap(),
            identity: identity.map(NumericIdentity::new),
            state,
        }
    }

    #[tokio::test]
    async fn an_endpoint_s_life_is_told_with_reasons_and_outlives_it() {
        let tables = Tables::new(&Database::default());
        let (history, write) = (History::default(), tables.endpoints.write.clone());
        let mut events = history.subscribe();
        let following = history.clone().follow(tables.clone());
        let life = async {
            let step = || tokio::time::sleep(Duration::from_millis(20));
            step().await;
            for (state, identity) in [
                (EndpointState::WaitingForIdentity, None),
                (EndpointState::Regenerating, Some(70_000)),
                (EndpointState::Ready, Some(70_000)),
                (EndpointState::Disconnecting, Some(70_000)),
            ] {
                write.upsert(endpoint(7, state, identity));
                step().await;
            }
            write.delete(&EndpointId(7));
            step().await;
        };
        tokio::select! { () = following => {}, () = life => {} }
        let log = history.log(EndpointId(7)).unwrap();
        let states: Vec<&str> = log.iter().map(|change| change.state.as_str()).collect();
        let expected = ["waiting-for-identity", "regenerating", "regenerating", "ready", "disconnecting", "deleted"];
        assert_eq!(states, expected, "{log:?}");
        assert!(log[1].reason.contains("identity 70000 granted for k8s:app=cart"), "{log:?}");
        assert!(
            events.recv().await.unwrap().summary.starts_with("Endpoint 7 (shop/cart): waiting-for-identity: created")
        );
        assert!(history.log(EndpointId(8)).is_none());
    }
}
