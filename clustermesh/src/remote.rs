//! The task of one remote cluster.

mod imports;
mod status;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use kvstore::{Backend, Client, Event, Follower, Range, follow};
use model::ClusterName;
use reflector::StoreHealth;
use tables::RemoteCluster;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Duration;
use wire::cluster_config::{self, ClusterConfig};
use wire::key::Resource;

use self::imports::Imports;
use crate::driver::Shared;
use crate::{Core, Effect, Gate, RemoteFile};

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
    control: Gate,
    client: Option<Arc<Client>>,
    imports: Imports,
    request: Option<Task<Answer>>,
    canaries: Option<(Follower, Task<()>)>,
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

// === impl Remote ===

impl Remote {
    /// Announces the cluster as a source at once.
    pub(crate) fn new(shared: Arc<Shared>, name: ClusterName, file: RemoteFile, broken: watch::Sender<u64>) -> Self {
        let health = shared.options.freshness.store(&name, shared.options.lease_ttl);
        Self {
            imports: Imports::new(&shared, &name, Arc::clone(&health), &broken),
            health,
            control: Gate::new(broken),
            client: None,
            request: None,
            canaries: None,
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
            self.imports.leave_other_form();
            self.publish(&core);
            let (timeout, nodes_listed) = (core.poll_timeout(), self.imports.nodes_listed());
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
                () = nodes_listed, if !self.after_nodes.is_empty() => {
                    for resource in std::mem::take(&mut self.after_nodes) {
                        self.open(resource);
                    }
                }
                () = self.imports.run() => {}
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
            Effect::Start { id, cached } => self.imports.start(id, cached),
            Effect::Backends(form) => self.imports.read_backends(form),
            Effect::Drain => {
                tracing::warn!(cluster = %self.name, "its id or its place has changed: everything of it is removed");
                self.imports.drain();
            }
            Effect::WatchCanaries => {
                let prefix = wire::synced::prefix(&self.name);
                self.canaries = Some(boxed(follow(Arc::new(self.control.clone()), prefix)));
            }
            Effect::Open(resource @ (Resource::Ip | Resource::Services | Resource::EndpointSlices)) => {
                self.after_nodes.push(resource);
            }
            Effect::Open(resource) => self.open(resource),
            Effect::Close => {
                self.control.close();
                self.imports.close();
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
            self.imports.open(resource, client.clone());
        }
    }

    fn remove(self) {
        tracing::info!(cluster = %self.name, "configuration removed: everything of it is removed");
        self.imports.remove();
        self.shared.tables.remote_clusters.delete(&self.name);
        self.shared.ids.lock().release(&self.name);
        self.shared.options.freshness.remove(&self.name);
    }

    fn publish(&self, core: &Core) {
        let connection = self.client.as_ref().map(|client| client.connection_status());
        let row = status::row(&self.name, core, &self.imports, connection);
        let (failures, last_failure) = (self.failures, self.last_failure);
        self.shared.tables.remote_clusters.upsert(RemoteCluster { failures, last_failure, ..row });
    }
}

async fn read_config(client: Arc<Client>, key: String) -> Result<Option<ClusterConfig>, String> {
    let answer = client.range(Range::key(key.clone())).await.map_err(|error| error.full())?;
    match answer.kvs.first() {
        None => Ok(None),
        Some(kv) => cluster_config::decode(&key, &kv.value).map(Some).map_err(|error| error.to_string()),
    }
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

async fn pending<T>(task: &mut Option<Task<T>>) -> T {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}
