//! The lifecycle as a state machine.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use model::{
    ClusterName, EndpointId, FixedIdentities, LabelFilter, Labels, NumericIdentity, PodFacts, ReservedIdentity,
};
use statedb::Snapshot;
use tables::{Endpoint, EndpointState, Grant, Namespace, Pod};

use crate::{CreateError, CreateRequest};

/// How long a create waits for the Pod object, and then for an identity: kubelet repeats a failed ADD, so a short
/// wait costs little and holds no sandbox.
const WAIT: Duration = Duration::from_secs(5);
/// How long a create waits for the datapath.
const REALIZE: Duration = Duration::from_secs(10);

/// What must now be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write the row, and its file.
    Upsert(Box<Endpoint>),
    /// Delete the row, and its file.
    Remove(EndpointId),
    /// This node uses a label set.
    Request(Labels),
    /// It does so no longer.
    Release(Labels),
    /// A create ended well.
    Created(EndpointId),
    /// A create failed; everything else it needs follows as effects of its own.
    Failed(EndpointId, CreateError),
}

/// How pods come to their identities.
#[derive(Debug, Clone)]
pub struct Labelling {
    /// Our own cluster.
    pub cluster: ClusterName,
    /// Which of a pod's labels count.
    pub filter: LabelFilter,
    /// Numbers that pods may ask for by name.
    pub fixed: FixedIdentities,
}

/// The endpoints of a node.
pub struct Core {
    labelling: Labelling,
    entries: BTreeMap<EndpointId, Entry>,
    requests: BTreeMap<Labels, usize>,
    grants: BTreeMap<Labels, Grant>,
    effects: VecDeque<Effect>,
    next_id: u16,
}

struct Entry {
    row: Endpoint,
    wait: Wait,
    /// The labels it holds a request for: those in force, or those it is moving to.
    wanted: Option<Labels>,
    /// Somebody waits for the create to end.
    creating: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Wait {
    /// For the Pod object, until then.
    Pod(Instant),
    /// For a number; a create gives up then.
    Identity(Option<Instant>),
    /// For the datapath; a create gives up then.
    Realized(Option<Instant>),
    Nothing,
}

// === impl Core ===

impl Core {
    /// A node without endpoints.
    pub fn new(labelling: Labelling) -> Self {
        Self {
            labelling,
            entries: BTreeMap::new(),
            requests: BTreeMap::new(),
            grants: BTreeMap::new(),
            effects: VecDeque::new(),
            next_id: 0,
        }
    }

    /// An endpoint of an earlier run whose interface is still there: it forwards as before.
    pub fn handle_restore(&mut self, mut row: Endpoint) {
        row.state = EndpointState::Restoring;
        self.next_id = self.next_id.max(row.id.0);
        let mut entry = Entry { wanted: None, wait: Wait::Realized(None), creating: false, row };
        if entry.row.identity.is_some_and(|identity| !identity.is_reserved()) {
            let labels = entry.row.labels.clone();
            self.want(&mut entry, Some(labels));
        }
        self.effects.push_back(Effect::Upsert(Box::new(entry.row.clone())));
        self.entries.insert(entry.row.id, entry);
    }

    /// CNI asks for an endpoint. [`Effect::Created`] or [`Effect::Failed`] answers.
    ///
    /// A second request for the same sandbox and interface replaces the first: the runtime starts over.
    ///
    /// # Errors
    ///
    /// [`CreateError::AddressInUse`], [`CreateError::TooMany`].
    pub fn handle_create(
        &mut self,
        now: Instant,
        request: CreateRequest,
        pods: &Snapshot<Pod>,
        namespaces: &Snapshot<Namespace>,
    ) -> Result<EndpointId, CreateError> {
        let same = |row: &Endpoint| {
            row.container_id == request.container_id && row.container_ifname == request.container_ifname
        };
        if let Some(id) = self.entries.iter().find(|(_, entry)| same(&entry.row)).map(|(id, _)| *id) {
            self.handle_delete(id);
        }
        let asked = [request.ipv4.map(std::net::IpAddr::V4), request.ipv6.map(std::net::IpAddr::V6)];
        for address in asked.into_iter().flatten() {
            if let Some((holder, _)) = self.entries.iter().find(|(_, entry)| entry.row.ips().any(|ip| ip == address)) {
                return Err(CreateError::AddressInUse { address, holder: *holder });
            }
        }
        let id = self.free_id()?;
        let row = Endpoint {
            id,
            container_id: request.container_id,
            netns: request.netns,
            container_ifname: request.container_ifname,
            host_ifname: request.host_ifname,
            host_ifindex: request.host_ifindex,
            mac: request.mac,
            host_mac: request.host_mac,
            ipv4: request.ipv4,
            ipv6: request.ipv6,
            namespace: request.namespace,
            pod_name: request.pod_name,
            service_account: "".into(),
            named_ports: Vec::new(),
            labels: Labels::default(),
            identity: None,
            state: EndpointState::WaitingForIdentity,
        };
        self.effects.push_back(Effect::Upsert(Box::new(row.clone())));
        let entry = Entry { row, wait: Wait::Pod(now + WAIT), wanted: None, creating: true };
        self.entries.insert(id, entry);
        self.handle_objects(now, pods, namespaces);
        Ok(id)
    }

    /// Pod or Namespace objects changed: labels are worked out again.
    pub fn handle_objects(&mut self, now: Instant, pods: &Snapshot<Pod>, namespaces: &Snapshot<Namespace>) {
        let ids: Vec<EndpointId> = self.entries.keys().copied().collect();
        for id in ids {
            let Some(mut entry) = self.entries.remove(&id) else { continue };
            self.relabel(now, &mut entry, pods, namespaces);
            self.entries.insert(id, entry);
        }
    }

    /// The allocator answered for a label set, or (`None`) withdrew its answer.
    pub fn handle_grant(&mut self, now: Instant, labels: Labels, grant: Option<Grant>) {
        match grant {
            Some(grant) => drop(self.grants.insert(labels.clone(), grant)),
            None => drop(self.grants.remove(&labels)),
        }
        let ids: Vec<EndpointId> = self.entries.keys().copied().collect();
        for id in ids {
            let Some(mut entry) = self.entries.remove(&id) else { continue };
            if entry.wanted.as_ref() == Some(&labels) {
                self.regrant(now, &mut entry);
            }
            self.entries.insert(id, entry);
        }
    }

    /// The datapath enforces an endpoint under this identity.
    pub fn handle_realized(&mut self, id: EndpointId, identity: NumericIdentity) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if !matches!(entry.wait, Wait::Realized(_)) || entry.row.identity != Some(identity) {
            return;
        }
        entry.wait = Wait::Nothing;
        entry.row.state = EndpointState::Ready;
        self.effects.push_back(Effect::Upsert(Box::new(entry.row.clone())));
        if std::mem::take(&mut entry.creating) {
            self.effects.push_back(Effect::Created(id));
        }
    }

    /// The endpoint goes; true when there was one.
    pub fn handle_delete(&mut self, id: EndpointId) -> bool {
        let Some(mut entry) = self.entries.remove(&id) else { return false };
        if entry.creating {
            self.effects.push_back(Effect::Failed(id, CreateError::Deleted(id)));
        }
        self.effects.push_back(Effect::Remove(id));
        self.want(&mut entry, None);
        true
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let ids: Vec<EndpointId> = self.entries.keys().copied().collect();
        for id in ids {
            let Some(mut entry) = self.entries.remove(&id) else { continue };
            match entry.wait {
                Wait::Pod(until) if until <= now => self.initialise(now, &mut entry),
                Wait::Identity(Some(until)) if until <= now => {
                    let labels = entry.wanted.clone().unwrap_or_default();
                    let reason = match self.grants.get(&labels) {
                        Some(Grant::Failed(reason)) => reason.clone(),
                        _ => "the kvstore has not answered".to_owned(),
                    };
                    let error = CreateError::NoIdentity { labels: labels.to_string(), seconds: WAIT.as_secs(), reason };
                    self.fail(entry, error);
                    continue;
                }
                Wait::Realized(Some(until)) if until <= now => {
                    self.fail(entry, CreateError::NotRealized { id, seconds: REALIZE.as_secs() });
                    continue;
                }
                _ => {}
            }
            self.entries.insert(id, entry);
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let until = |entry: &Entry| match entry.wait {
            Wait::Pod(until) | Wait::Identity(Some(until)) | Wait::Realized(Some(until)) => Some(until),
            _ => None,
        };
        self.entries.values().filter_map(until).min()
    }

    fn relabel(&mut self, now: Instant, entry: &mut Entry, pods: &Snapshot<Pod>, namespaces: &Snapshot<Namespace>) {
        let key = (entry.row.namespace.clone(), entry.row.pod_name.clone());
        // A Pod object that is gone changes nothing: the sandbox still runs, and CNI will say when it goes.
        let Some(pod) = pods.get(&key) else { return };
        let none = BTreeMap::new();
        let facts = PodFacts {
            cluster: &self.labelling.cluster,
            namespace: &pod.namespace,
            namespace_labels: namespaces.get(&pod.namespace).map_or(&none, |namespace| &namespace.labels),
            service_account: &pod.service_account,
            labels: &pod.labels,
            filter: &self.labelling.filter,
        };
        let Ok(labels) = facts.identity_labels() else {
            // `k8s` has validated labels; a set that still breaks a rule keeps what is in force.
            tracing::warn!(pod = %format!("{}/{}", key.0, key.1), "labels of the pod make no identity");
            return;
        };
        let described = entry.row.service_account != pod.service_account || entry.row.named_ports != pod.named_ports;
        entry.row.service_account = pod.service_account.clone();
        entry.row.named_ports.clone_from(&pod.named_ports);
        let fixed = self.labelling.fixed.of(&labels);
        let unchanged = match &fixed {
            Some((number, _)) => entry.row.identity == Some(*number) && entry.wanted.is_none(),
            None => entry.wanted.as_ref() == Some(&labels),
        };
        if unchanged {
            if described && entry.row.identity.is_some() {
                self.effects.push_back(Effect::Upsert(Box::new(entry.row.clone())));
            }
            return;
        }
        if let Some((number, labels)) = fixed {
            // Nobody allocates it: it is the same everywhere.
            self.want(entry, None);
            (entry.row.identity, entry.row.labels) = (Some(number), labels);
            return self.regenerate(now, entry);
        }
        self.want(entry, Some(labels));
        if matches!(entry.wait, Wait::Pod(_) | Wait::Identity(_)) {
            entry.wait = Wait::Identity(entry.creating.then_some(now + WAIT));
        }
        self.regrant(now, entry);
    }

    /// Takes over the identity of the wanted labels once it is known.
    fn regrant(&mut self, now: Instant, entry: &mut Entry) {
        let Some(labels) = &entry.wanted else { return };
        let Some(Grant::Identity(identity)) = self.grants.get(labels) else { return };
        if entry.row.identity == Some(*identity) && entry.row.labels == *labels {
            return;
        }
        entry.row.identity = Some(*identity);
        entry.row.labels = labels.clone();
        self.regenerate(now, entry);
    }

    /// No Pod object: the endpoint starts as `reserved:init`, denied by default and not exported.
    fn initialise(&mut self, now: Instant, entry: &mut Entry) {
        entry.row.identity = Some(NumericIdentity::INIT);
        entry.row.labels = ReservedIdentity::Init.labels();
        self.regenerate(now, entry);
    }

    fn regenerate(&mut self, now: Instant, entry: &mut Entry) {
        entry.row.state = EndpointState::Regenerating;
        entry.wait = Wait::Realized(entry.creating.then_some(now + REALIZE));
        self.effects.push_back(Effect::Upsert(Box::new(entry.row.clone())));
    }

    fn fail(&mut self, mut entry: Entry, error: CreateError) {
        self.effects.push_back(Effect::Failed(entry.row.id, error));
        self.effects.push_back(Effect::Remove(entry.row.id));
        self.want(&mut entry, None);
    }

    /// Moves an endpoint's request from one label set to another; a set that nobody wants is released last, so that
    /// a move between two endpoints never lets go of a number in between.
    fn want(&mut self, entry: &mut Entry, labels: Option<Labels>) {
        let before = std::mem::replace(&mut entry.wanted, labels.clone());
        if let Some(labels) = labels {
            let users = self.requests.entry(labels.clone()).or_default();
            *users += 1;
            if *users == 1 {
                self.effects.push_back(Effect::Request(labels));
            }
        }
        if let Some(before) = before
            && let Some(users) = self.requests.get_mut(&before)
        {
            *users -= 1;
            if *users == 0 {
                self.requests.remove(&before);
                self.effects.push_back(Effect::Release(before));
            }
        }
    }

    fn free_id(&mut self) -> Result<EndpointId, CreateError> {
        for _ in 0..u16::MAX {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !self.entries.contains_key(&EndpointId(self.next_id)) {
                return Ok(EndpointId(self.next_id));
            }
        }
        Err(CreateError::TooMany(self.entries.len()))
    }
}

#[cfg(test)]
mod tests;
