//! Follows the directory and keeps one task per remote cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kvstore::{Client, Etcd, EtcdConfig};
use model::{ClusterId, ClusterName, Source};
use notify::{RecursiveMode, Watcher};
use parking_lot::Mutex;
use reflector::{Freshness, Metrics};
use runtime::Tasks;
use statedb::{Reader, Row, Writer};
use tables::{Alarm, Frontend, Identity, IpClaim, NodeRow, Rejected, RemoteCluster, RemoteService, RemoteSlice};
use tokio::sync::{mpsc, oneshot, watch};
use wire::key::Resource;

use crate::border::Frontier;
use crate::remote::{Command, Remote};
use crate::{Directory, Ids, Own, RemoteFile, ServiceMode};

/// How long a burst of file events is let settle.
const SETTLE: Duration = Duration::from_millis(50);

/// How often the directory is read without an event.
const REREAD: Duration = Duration::from_secs(10);

/// Makes the connection to a remote store.
pub type Connect =
    Arc<dyn Fn(EtcdConfig) -> Pin<Box<dyn Future<Output = Result<Arc<Client>, String>> + Send>> + Send + Sync>;

/// How remote clusters are followed.
#[derive(Clone)]
pub struct Options {
    /// Our own cluster.
    pub own: Own,
    /// How a connection is made: [`etcd_connector`].
    pub connect: Connect,
    /// How long keys outlive their writer.
    pub lease_ttl: Duration,
    /// Where the age of each source is kept.
    pub freshness: Freshness,
    /// Counters.
    pub metrics: Metrics,
    /// Whether backends are read as services or as endpoint slices.
    pub service_mode: ServiceMode,
}

/// The tables that remote clusters write.
#[derive(Clone)]
pub struct Tables {
    /// Nodes.
    pub nodes: Writer<NodeRow>,
    /// Addresses.
    pub ips: Writer<IpClaim>,
    /// Identities.
    pub identities: Writer<Identity>,
    /// Shared services.
    pub global_services: Writer<RemoteService>,
    /// Endpoint slices, of clusters that are read by them.
    pub remote_slices: Writer<RemoteSlice>,
    /// Addresses of our own services, which no other cluster has; `None` where nobody forwards.
    pub frontends: Option<Reader<Frontend>>,
    /// How each connection stands.
    pub remote_clusters: Writer<RemoteCluster>,
    /// Keys that broke a rule.
    pub rejected: Writer<Rejected>,
    /// What an operator should look at.
    pub alarms: Writer<Alarm>,
}

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) tables: Tables,
    pub(crate) ids: Mutex<Ids>,
    pub(crate) frontier: Arc<Frontier>,
}

struct Running {
    file: RemoteFile,
    commands: mpsc::Sender<Command>,
}

/// Connections to etcd that refuse answers of another cluster, with the rates and keep-alive times of our own store.
pub fn etcd_connector(store: kvstore::Options) -> Connect {
    Arc::new(move |config| {
        let store = store.clone();
        Box::pin(async move {
            let etcd = Etcd::connect(&store.with_keep_alive(config), true);
            let etcd = etcd.map_err(|error| match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            })?;
            Ok(Client::new(Arc::new(etcd), store.remote_client_options()))
        })
    })
}

/// Follows the clusters of a directory; `None`: there are none. The tables are not initialised before the directory was
/// read and each of its clusters was listed. The future runs until it is dropped; the clusters' tasks are `tasks`'.
pub fn run(
    tasks: Tasks,
    directory: Option<PathBuf>,
    options: Options,
    tables: Tables,
) -> impl Future<Output = ()> + Send + 'static {
    let source = "clustermesh";
    let nodes = tables.nodes.announce(source);
    let ips = tables.ips.announce(source);
    let identities = tables.identities.announce(source);
    let services = tables.global_services.announce(source);
    let slices = tables.remote_slices.announce(source);
    let mut announced = Some(move || {
        nodes.done();
        ips.done();
        identities.done();
        services.done();
        slices.done();
    });
    async move {
        let ids = Mutex::new(Ids::new(options.own.clone()));
        let frontier = Frontier::new(options.own.name.clone(), tables.nodes.reader(), tables.frontends.clone());
        tasks.spawn_finite("clustermesh-border", Arc::clone(&frontier).run());
        let shared = Arc::new(Shared { options, tables, ids, frontier });
        let mut directory = directory;
        if let Some(path) = directory.take_if(|_| shared.options.own.id == ClusterId::NONE) {
            tracing::warn!(path = %path.display(), "cluster id is 0: remote clusters are not connected");
        }
        let Some(path) = directory else {
            if let Some(done) = announced.take() {
                done();
            }
            return std::future::pending().await;
        };
        let (events, mut changed) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // To read the files is an event too: answered, it would never end. One pending event is enough: it means
            // "read again".
            if !event.is_ok_and(|event| event.kind.is_access()) {
                events.try_send(()).ok();
            }
        });
        let mut watcher =
            watcher.inspect_err(|error| tracing::warn!(%error, "no file events: the directory is polled")).ok();
        let mut watching = false;
        let mut running: BTreeMap<ClusterName, Running> = BTreeMap::new();
        let mut reported = BTreeSet::new();
        loop {
            if let Some(watcher) = watcher.as_mut().filter(|_| !watching) {
                watching = watcher.watch(&path, RecursiveMode::NonRecursive).is_ok();
            }
            match Directory::read(&path, &shared.options.own.name) {
                Ok(found) => {
                    report(&shared.tables.alarms, &mut reported, &found.problems);
                    let first = announced.is_some();
                    if first {
                        let known = found.remotes.keys().chain(&found.keep).cloned().collect();
                        shared.tables.forget_strangers(&shared.options.own.name, &known);
                    }
                    apply(&tasks, &shared, &mut running, found).await;
                }
                Err(error) => {
                    watching = false;
                    let message = format!("cannot read {}: {error}; no cluster is added or removed", path.display());
                    report(&shared.tables.alarms, &mut reported, &BTreeMap::from([(String::new(), message)]));
                }
            }
            if let Some(done) = announced.take() {
                done();
            }
            tokio::select! {
                Some(()) = changed.recv() => {
                    tokio::time::sleep(SETTLE).await;
                    while changed.try_recv().is_ok() {}
                }
                () = tokio::time::sleep(REREAD) => {}
            }
        }
    }
}

async fn apply(tasks: &Tasks, shared: &Arc<Shared>, running: &mut BTreeMap<ClusterName, Running>, found: Directory) {
    let gone: Vec<ClusterName> = running
        .keys()
        .filter(|name| !found.remotes.contains_key(name) && !found.keep.contains(name))
        .cloned()
        .collect();
    for name in gone {
        let Some(remote) = running.remove(&name) else { continue };
        let (done, wait) = oneshot::channel();
        if remote.commands.send(Command::Remove(done)).await.is_ok() {
            // Waited for, so that a cluster that comes back at once does not lose its new rows.
            wait.await.ok();
        }
    }
    for (name, file) in found.remotes {
        match running.get_mut(&name) {
            Some(remote) if remote.file.text == file.text => {}
            Some(remote) => {
                remote.file = file.clone();
                // Its task ends with the process only.
                remote.commands.send(Command::File(Box::new(file))).await.ok();
            }
            None => {
                let (commands, receiver) = mpsc::channel(1);
                let (broken, broken_receiver) = watch::channel(0);
                let remote = Remote::new(Arc::clone(shared), name.clone(), file.clone(), broken);
                tasks.spawn_finite("clustermesh-remote", remote.run(receiver, broken_receiver));
                running.insert(name, Running { file, commands });
            }
        }
    }
}

fn report(alarms: &Writer<Alarm>, reported: &mut BTreeSet<String>, problems: &BTreeMap<String, String>) {
    let name = |file: &str| format!("clustermesh/config/{file}");
    for file in reported.iter().filter(|file| !problems.contains_key(*file)) {
        alarms.delete(&name(file).into());
    }
    for (file, message) in problems {
        if !reported.contains(file) {
            tracing::warn!(message, "clustermesh configuration");
        }
        alarms.upsert(Alarm { name: name(file).into(), message: message.as_str().into() });
    }
    *reported = problems.keys().cloned().collect();
}

// === impl Tables ===

impl Tables {
    /// Removes everything of a remote cluster.
    pub(crate) fn drain(&self, cluster: &ClusterName) {
        // Addresses first: packets must not meet an identity that nobody can explain.
        delete_of(&self.ips, cluster);
        self.drain_backends(Resource::Services, cluster);
        self.drain_backends(Resource::EndpointSlices, cluster);
        delete_of(&self.nodes, cluster);
        delete_of(&self.identities, cluster);
        delete_of(&self.rejected, cluster);
        let prefix = format!("kvstore/{cluster}/");
        self.alarms.write(|txn| txn.retain(|alarm| !alarm.name.starts_with(&prefix)));
    }

    /// Removes a remote cluster's backends in one form.
    pub(crate) fn drain_backends(&self, form: Resource, cluster: &ClusterName) {
        match form {
            Resource::EndpointSlices => delete_of(&self.remote_slices, cluster),
            _ => delete_of(&self.global_services, cluster),
        }
    }

    /// Removes restored rows of clusters that are no longer configured.
    fn forget_strangers(&self, own: &ClusterName, known: &BTreeSet<ClusterName>) {
        let stranger = |cluster: &ClusterName| cluster != own && !known.contains(cluster);
        let restored = |source: Source| source == Source::Restored;
        self.ips.write(|txn| txn.retain(|row| !(restored(row.origin.source) && stranger(&row.origin.cluster))));
        self.global_services.write(|txn| txn.retain(|row| !stranger(&row.service.cluster)));
        self.remote_slices.write(|txn| txn.retain(|row| !stranger(&row.slice.cluster)));
        self.nodes.write(|txn| txn.retain(|row| !(restored(row.node.source) && stranger(&row.node.cluster))));
        self.identities.write(|txn| txn.retain(|row| !(restored(row.origin.source) && stranger(&row.origin.cluster))));
    }
}

fn delete_of<R: Row>(writer: &Writer<R>, cluster: &ClusterName) {
    writer.write(|txn| {
        let keys: Vec<R::Key> = txn.by("cluster", cluster.as_str()).map(|row| row.key()).collect();
        for key in &keys {
            txn.delete(key);
        }
    });
}
