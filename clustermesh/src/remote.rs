//! The task of one remote cluster.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use kvstore::{Backend, Client, Event, Follower, Range, follow};
use model::{ClusterId, ClusterName, Source};
use reflector::{Import, StoreHealth};
use statedb::{Initializer, Reader, Row, Writer};
use tables::{Identity, IpClaim, NodeRow, RemoteCluster, RemoteConfig, RemoteService, RemoteSlice, Synced};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Duration;
use wire::cluster_config::{self, ClusterConfig};
use wire::key::Resource;

use crate::border::RemoteBorder;
use crate::driver::Shared;
use crate::{Core, Effect, Gate, Phase, RESOURCES, RemoteFile};

/// Nodes that a remote cluster may have: the largest that Kubernetes supports, twice.
const MAX_NODES: usize = 10_000;

/// Addresses: 250 pods with two families on 2,000 nodes.
const MAX_IPS: usize = 1_000_000;

/// Services that a remote cluster may share.
const MAX_SERVICES: usize = 50_000;

/// Slices of them: one for each family, and some have more than a hundred endpoints.
const MAX_SLICES: usize = 2 * MAX_SERVICES;

/// How often the status is looked at when nothing happens.
const STATUS: Duration = Duration::from_secs(1);

/// What a remote's task is told.
pub(crate) enum Command {
    /// Its file has changed.
    File(Box<RemoteFile>),
    /// Its file is gone: remove everything, answer, and end.
    Remove(oneshot::Sender<()>),
}

pub(crate) struct Remote {
    name: ClusterName,
    file: RemoteFile,
    shared: Arc<Shared>,
    health: Arc<StoreHealth>,
    /// The table's sources: none is initialised before this cluster is.
    sources: Sources,
    control: Gate,
    gates: [(Resource, Gate); RESOURCES.len()],
    client: Option<Arc<Client>>,
    /// The id that its data must have, and whether it is a mirror.
    reads: Option<(ClusterId, bool)>,
    imports: Option<Task<()>>,
    /// The import of its backends, in the one form or the other.
    backends: Option<(Resource, Task<()>)>,
    /// The form in which they were read before: its rows stay until the new one's are there.
    leaving: Option<Resource>,
    request: Option<Task<Answer>>,
    canaries: Option<(Follower, Task<()>)>,
    border: Arc<RemoteBorder>,
    /// Resources that are let through once the cluster's nodes are listed: what they claim is judged by them.
    after_nodes: Vec<Resource>,
    failures: u64,
    last_failure: Option<u64>,
}

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Answer {
    Connected(Result<Arc<Client>, String>),
    Config(Result<Option<ClusterConfig>, String>),
}

struct Sources {
    nodes: Initializer<NodeRow>,
    ips: Initializer<IpClaim>,
    identities: Initializer<Identity>,
    services: Initializer<RemoteService>,
    slices: Initializer<RemoteSlice>,
}

// === impl Remote ===

impl Remote {
    /// Announces the cluster as a source at once.
    pub(crate) fn new(shared: Arc<Shared>, name: ClusterName, file: RemoteFile, broken: watch::Sender<u64>) -> Self {
        let tables = &shared.tables;
        let source = format!("clustermesh/{name}");
        let sources = Sources {
            nodes: tables.nodes.announce(source.clone()),
            ips: tables.ips.announce(source.clone()),
            identities: tables.identities.announce(source.clone()),
            services: tables.global_services.announce(source.clone()),
            slices: tables.remote_slices.announce(source),
        };
        Self {
            health: shared.options.freshness.store(&name, shared.options.lease_ttl),
            sources,
            control: Gate::new(broken.clone()),
            gates: RESOURCES.map(|resource| (resource, Gate::new(broken.clone()))),
            client: None,
            reads: None,
            imports: None,
            backends: None,
            leaving: None,
            request: None,
            canaries: None,
            border: RemoteBorder::new(
                name.clone(),
                Arc::clone(&shared.frontier),
                tables.global_services.reader(),
                tables.remote_slices.reader(),
            ),
            after_nodes: Vec::new(),
            failures: 0,
            last_failure: None,
            name,
            file,
            shared,
        }
    }

    /// Runs until it is told to remove the cluster.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut broken: watch::Receiver<u64>) {
        let mut core = Core::new(runtime::now(), self.name.clone(), self.shared.options.service_mode);
        let (mut heartbeats, mut heartbeat_driver) =
            boxed(follow(Arc::new(self.control.clone()), wire::heartbeat::KEY));
        loop {
            core.handle_timeout(runtime::now(), rand::random());
            while let Some(effect) = core.poll_effect() {
                self.apply(effect);
            }
            self.leave_other_form();
            self.publish(&core);
            let timeout = core.poll_timeout();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::File(file)) => {
                        tracing::info!(cluster = %self.name, "configuration changed: connecting anew");
                        self.file = *file;
                        core.handle_file_changed(runtime::now());
                    }
                    Some(Command::Remove(done)) => {
                        self.remove();
                        // Nobody waits when the process is stopping.
                        done.send(()).ok();
                        return;
                    }
                    None => return,
                },
                answer = pending(&mut self.request) => {
                    self.request = None;
                    self.handle_answer(&mut core, answer);
                }
                events = heartbeats.next() => {
                    let seen = |event: &Event| matches!(event, Event::Created(_) | Event::Modified(_));
                    if events.is_some_and(|events| events.iter().any(seen)) {
                        core.handle_heartbeat(runtime::now());
                        self.health.handle_heartbeat(runtime::now());
                    }
                }
                events = next(&mut self.canaries) => self.handle_canaries(&mut core, &events),
                _ = broken.changed() => {
                    core.handle_broken(runtime::now(), "etcd cluster ID has changed".to_owned(), rand::random());
                }
                () = nodes_listed(&self.shared, &self.name), if !self.after_nodes.is_empty() => {
                    for resource in std::mem::take(&mut self.after_nodes) {
                        self.open(resource);
                    }
                }
                () = pending(&mut self.imports) => self.imports = None,
                () = running(&mut self.backends) => self.backends = None,
                () = &mut heartbeat_driver => return,
                () = runtime::sleep_until(timeout) => {}
                () = tokio::time::sleep(STATUS) => {}
            }
        }
    }

    fn handle_answer(&mut self, core: &mut Core, answer: Answer) {
        match answer {
            Answer::Connected(Ok(client)) => {
                self.control.open(client.clone());
                self.client = Some(client);
                core.handle_connected(runtime::now(), Ok(()), rand::random());
            }
            Answer::Connected(Err(error)) => core.handle_connected(runtime::now(), Err(error), rand::random()),
            Answer::Config(answer) => {
                let mut ids = self.shared.ids.lock();
                core.handle_config(runtime::now(), answer, &mut ids, rand::random());
            }
        }
    }

    fn handle_canaries(&self, core: &mut Core, events: &[Event]) {
        let prefix = wire::synced::prefix(&self.name);
        let cached = core.config().is_some_and(|config| config.cached);
        let source = if cached { wire::Source::Cache(&self.name) } else { wire::Source::State };
        for event in events {
            // A canary that goes later has no effect on what runs.
            let (Event::Created(kv) | Event::Modified(kv)) = event else { continue };
            let name = wire::key::name_after(&prefix, &kv.key);
            if let Some(resource) = name.and_then(|name| wire::synced::parse(source, name)) {
                core.handle_canary(resource);
            }
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Connect => {
                let connect = (self.shared.options.connect)(self.file.config.clone());
                self.request = Some(Box::pin(async move { Answer::Connected(connect.await) }));
            }
            Effect::ReadConfig => {
                let Some(client) = self.client.clone() else { return };
                let key = cluster_config::key(&self.name);
                self.request = Some(Box::pin(async move { Answer::Config(read_config(client, key).await) }));
            }
            Effect::Start { id, cached } => self.start(id, cached),
            Effect::Backends(form) => self.read_backends(form),
            Effect::Drain => {
                tracing::warn!(cluster = %self.name, "its id or its place has changed: everything of it is removed");
                (self.imports, self.backends, self.leaving) = (None, None, None);
                self.shared.tables.drain(&self.name);
            }
            Effect::WatchCanaries => {
                let prefix = wire::synced::prefix(&self.name);
                self.canaries = Some(boxed(follow(Arc::new(self.control.clone()), prefix)));
            }
            Effect::Open(resource @ (Resource::Ip | Resource::Services | Resource::EndpointSlices)) => {
                self.after_nodes.push(resource)
            }
            Effect::Open(resource) => self.open(resource),
            Effect::Close => {
                self.control.close();
                self.gates.iter().for_each(|(_, gate)| gate.close());
                (self.client, self.request, self.canaries) = (None, None, None);
                self.after_nodes.clear();
            }
            Effect::Failed(why) => {
                tracing::warn!(cluster = %self.name, why, "remote cluster is not reachable; what is known of it stays");
                self.failures += 1;
                self.last_failure = runtime::wall().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
            }
        }
    }

    fn open(&self, resource: Resource) {
        if let Some(client) = &self.client {
            self.gate(resource).open(client.clone());
        }
    }

    fn import(&self, resource: Resource, cached: bool, quota: usize) -> Import {
        let Shared { tables, options, .. } = &*self.shared;
        Import {
            store: Arc::new(self.gate(resource).clone()),
            cluster: self.name.clone(),
            source: Source::ClusterMesh,
            cached,
            rejected: tables.rejected.clone(),
            alarms: tables.alarms.clone(),
            metrics: options.metrics.clone(),
            health: Arc::clone(&self.health),
            border: Some(self.border.clone()),
            exporter: None,
            quota,
        }
    }

    fn start(&mut self, id: ClusterId, cached: bool) {
        self.reads = Some((id, cached));
        let Shared { tables, options, .. } = &*self.shared;
        let layout = options.own.layout;
        let import = |resource, quota| self.import(resource, cached, quota);
        let range = layout.allocation_range(id);
        let identities = (range.end() - range.start()) as usize + 1;
        let nodes = import(Resource::Nodes, MAX_NODES).nodes(id, None, tables.nodes.clone());
        let ips = import(Resource::Ip, MAX_IPS).ips(id, layout, tables.ips.clone());
        let identities = import(Resource::Identities, identities).identities(id, layout, tables.identities.clone());
        self.imports = Some(Box::pin(async move {
            tokio::select! {
                () = nodes => {}
                () = ips => {}
                () = identities => {}
            }
        }));
    }

    /// Reads backends in this form from now on.
    fn read_backends(&mut self, form: Option<Resource>) {
        let Some((id, cached)) = self.reads else { return };
        let tables = &self.shared.tables;
        // What is not read is as good as read.
        let source = format!("clustermesh/{}", self.name);
        tables.global_services.announce(source.clone()).done();
        tables.remote_slices.announce(source).done();
        self.leaving = match form {
            Some(Resource::EndpointSlices) => Some(Resource::Services),
            Some(_) => Some(Resource::EndpointSlices),
            None => {
                tracing::warn!(cluster = %self.name, "it exports no endpoint slices, and nothing else is wanted: no backends");
                tables.drain_backends(Resource::Services, &self.name);
                tables.drain_backends(Resource::EndpointSlices, &self.name);
                None
            }
        };
        self.backends = form.map(|form| {
            let import: Task<()> = match form {
                Resource::EndpointSlices => {
                    Box::pin(self.import(form, cached, MAX_SLICES).slices(id, tables.remote_slices.clone()))
                }
                _ => Box::pin(self.import(form, cached, MAX_SERVICES).services(id, tables.global_services.clone())),
            };
            (form, import)
        });
    }

    /// Removes backends of the form that is no longer read, once those of the other one are there.
    fn leave_other_form(&mut self) {
        let Some((form, _)) = &self.backends else { return };
        if self.leaving.is_some() && self.gate(*form).is_open() && self.has_listed(*form) {
            if let Some(left) = self.leaving.take() {
                self.shared.tables.drain_backends(left, &self.name);
            }
        }
    }

    fn has_listed(&self, resource: Resource) -> bool {
        let (tables, source) = (&self.shared.tables, format!("clustermesh/{}", self.name));
        match resource {
            Resource::Nodes => is_done(&tables.nodes, &source),
            Resource::Ip => is_done(&tables.ips, &source),
            Resource::Identities => is_done(&tables.identities, &source),
            Resource::EndpointSlices => is_done(&tables.remote_slices, &source),
            _ => is_done(&tables.global_services, &source),
        }
    }

    fn gate(&self, resource: Resource) -> &Gate {
        let found = self.gates.iter().find(|(of, _)| *of == resource);
        &found.expect("there is a gate for every resource").1
    }

    fn remove(mut self) {
        tracing::info!(cluster = %self.name, "configuration removed: everything of it is removed");
        (self.imports, self.backends) = (None, None);
        let tables = &self.shared.tables;
        tables.drain(&self.name);
        tables.remote_clusters.delete(&self.name);
        self.shared.ids.lock().release(&self.name);
        self.shared.options.freshness.remove(&self.name);
        self.sources.nodes.done();
        self.sources.ips.done();
        self.sources.identities.done();
        self.sources.services.done();
        self.sources.slices.done();
    }

    fn publish(&self, core: &Core) {
        let tables = &self.shared.tables;
        let connection = self.client.as_ref().map(|client| client.connection_status());
        let connected = connection.as_ref().is_some_and(|status| status.connected);
        let is_synced = |resource| core.is_open(resource) && self.has_listed(resource);
        let form = core.backends();
        let synced = Synced {
            nodes: is_synced(Resource::Nodes),
            endpoints: is_synced(Resource::Ip),
            identities: is_synced(Resource::Identities),
            services: form.is_some_and(|form| form != Some(Resource::Services)) || is_synced(Resource::Services),
            endpoint_slices: (form == Some(Some(Resource::EndpointSlices)))
                .then(|| is_synced(Resource::EndpointSlices)),
        };
        let config = core.config().map(|config| RemoteConfig {
            id: config.id,
            cached: config.cached,
            synced_canaries: config.synced_canaries,
            service_exports: config.service_exports_enabled,
            endpoint_slices: config.endpoint_slices.as_str(),
        });
        let mut row = RemoteCluster {
            name: self.name.clone(),
            connected,
            status: "".into(),
            config: config.filter(|_| *core.phase() == Phase::Running),
            synced,
            failures: self.failures,
            last_failure: self.last_failure,
        };
        let lost = connection.and_then(|status| status.last_error).filter(|_| !connected);
        row.status = status(core.phase(), lost, &row).into();
        tables.remote_clusters.upsert(row);
    }
}

fn status(phase: &Phase, lost: Option<String>, row: &RemoteCluster) -> String {
    match phase {
        Phase::Waiting { why, .. } if why.is_empty() => "connecting".to_owned(),
        Phase::Waiting { why, .. } => why.clone(),
        Phase::Connecting => "connecting".to_owned(),
        Phase::Configuring { why, .. } if why.is_empty() => "reading the cluster configuration".to_owned(),
        Phase::Configuring { why, .. } => why.clone(),
        Phase::Running => match lost {
            Some(error) => format!("connection lost: {error}"),
            None if row.is_ready() => "ready".to_owned(),
            None if row.connected => "syncing".to_owned(),
            None => "connecting".to_owned(),
        },
    }
}

async fn read_config(client: Arc<Client>, key: String) -> Result<Option<ClusterConfig>, String> {
    let answer = client.range(Range::key(key.clone())).await.map_err(|error| error.full())?;
    match answer.kvs.first() {
        None => Ok(None),
        Some(kv) => cluster_config::decode(&key, &kv.value).map(Some).map_err(|error| error.to_string()),
    }
}

fn is_done<R: Row>(writer: &Writer<R>, source: &str) -> bool {
    let reader: Reader<R> = writer.reader();
    !reader.snapshot().pending().any(|pending| pending == source)
}

/// Waits until a cluster's nodes are known; at once on a reconnect.
async fn nodes_listed(shared: &Shared, cluster: &ClusterName) {
    let source = format!("clustermesh/{cluster}");
    shared.tables.nodes.reader().wait_for(|nodes| !nodes.pending().any(|pending| pending == source)).await;
}

fn boxed((follower, driver): (Follower, impl Future<Output = ()> + Send + 'static)) -> (Follower, Task<()>) {
    (follower, Box::pin(driver))
}

async fn next(canaries: &mut Option<(Follower, Task<()>)>) -> Vec<Event> {
    let Some((follower, driver)) = canaries else { return std::future::pending().await };
    tokio::select! {
        events = follower.next() => match events {
            Some(events) => events,
            None => std::future::pending().await,
        },
        () = driver => std::future::pending().await,
    }
}

async fn running(import: &mut Option<(Resource, Task<()>)>) {
    match import {
        Some((_, task)) => task.await,
        None => std::future::pending().await,
    }
}

async fn pending<T>(task: &mut Option<Task<T>>) -> T {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}
