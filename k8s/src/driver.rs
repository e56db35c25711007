//! The task that follows a manifest directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use statedb::{Row, Writer};
use tables::{Alarm, BackendSet, BackendSource, IpPool, Namespace, NodeObject, Pod, PolicyRule, ServiceRow};
use tokio::sync::mpsc;

use crate::{Object, ObjectStore, Outcome, ParseOptions, read_directory};

/// How long a burst of file events is let settle: an editor writes, renames and touches.
const SETTLE: Duration = Duration::from_millis(20);
/// How often the directory is read without an event: network file systems send none.
const REREAD: Duration = Duration::from_secs(10);

/// The tables that objects become.
#[derive(Clone)]
pub struct Tables {
    /// Nodes.
    pub nodes: Writer<NodeObject>,
    /// Pods.
    pub pods: Writer<Pod>,
    /// Namespaces.
    pub namespaces: Writer<Namespace>,
    /// Pools of pod addresses.
    pub ip_pools: Writer<IpPool>,
    /// Services.
    pub services: Writer<ServiceRow>,
    /// Backends by EndpointSlice.
    pub backends: Writer<BackendSet>,
    /// Policy rules.
    pub rules: Writer<PolicyRule>,
    /// What was refused.
    pub alarms: Writer<Alarm>,
}

/// Follows a directory; the future runs until it is dropped. `None` means that there are no objects, now and later. The
/// source is announced at once: who waits for complete tables must not look before it.
pub fn run(
    tables: Tables,
    directory: Option<PathBuf>,
    options: ParseOptions,
) -> impl Future<Output = ()> + Send + 'static {
    let source = "k8s";
    let nodes = tables.nodes.announce(source);
    let ip_pools = tables.ip_pools.announce(source);
    let pods = tables.pods.announce(source);
    let namespaces = tables.namespaces.announce(source);
    let services = tables.services.announce(source);
    let backends = tables.backends.announce(source);
    let rules = tables.rules.announce(source);
    let announced = move || {
        nodes.done();
        ip_pools.done();
        pods.done();
        namespaces.done();
        services.done();
        backends.done();
        rules.done();
    };
    follow(tables, directory, options, announced)
}

async fn follow(
    tables: Tables,
    directory: Option<PathBuf>,
    options: ParseOptions,
    announced: impl FnOnce() + Send + 'static,
) {
    let mut announced = Some(announced);
    let Some(directory) = directory else {
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
    let mut store = ObjectStore::new(options);
    loop {
        // Watch before reading: what changes in between shows as an event. Also after the directory was replaced.
        if let Some(watcher) = watcher.as_mut().filter(|_| !watching) {
            watching = watcher.watch(&directory, RecursiveMode::NonRecursive).is_ok();
        }
        match read_directory(&directory) {
            Ok(files) => {
                apply(&tables, store.handle_files(&files));
                if let Some(done) = announced.take() {
                    done();
                }
                tables.alarms.delete(&alarm_name(&directory));
            }
            Err(error) => {
                watching = false;
                let message = format!("{error}: {}; nothing changes until it can be read", error.source);
                tables.alarms.upsert(Alarm { name: alarm_name(&directory), message: message.into() });
            }
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

fn alarm_name(directory: &Path) -> Arc<str> {
    format!("k8s/{}", directory.display()).into()
}

/// Makes the tables equal to the objects in force.
fn apply(tables: &Tables, outcome: Outcome) {
    let (mut pods, mut namespaces, mut services) = (Vec::new(), Vec::new(), Vec::new());
    let (mut backends, mut rules, mut nodes, mut ip_pools) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for object in outcome.objects.into_values() {
        match object {
            Object::Node(node) => nodes.push(node),
            Object::IpPool(pool) => ip_pools.push(pool),
            Object::Pod(pod) => pods.push(pod),
            Object::Namespace(namespace) => namespaces.push(namespace),
            Object::Service(service) => services.push(ServiceRow { service }),
            Object::Slice(set) => backends.push(set),
            Object::Policy(list) => {
                rules.extend(list.into_iter().enumerate().map(|(index, rule)| PolicyRule { rule, index }));
            }
        }
    }
    // Namespaces before pods: a pod's first labels shall have them.
    replace(&tables.namespaces, namespaces, |_| true);
    replace(&tables.nodes, nodes, |_| true);
    replace(&tables.ip_pools, ip_pools, |_| true);
    replace(&tables.rules, rules, |_| true);
    replace(&tables.pods, pods, |_| true);
    replace(&tables.services, services, |_| true);
    replace(&tables.backends, backends, |set| matches!(set.source, BackendSource::Slice(_)));
    for problem in &outcome.problems {
        if tables.alarms.reader().snapshot().get(&format!("k8s/{problem}").into()).is_none() {
            tracing::warn!("manifest refused: {problem}");
        }
    }
    let alarm = |problem: &String| Alarm { name: format!("k8s/{problem}").into(), message: problem.as_str().into() };
    replace(&tables.alarms, outcome.problems.iter().map(alarm).collect(), |alarm| alarm.name.starts_with("k8s/"));
}

/// Makes the rows that are `ours` equal to `rows`, in one transaction.
fn replace<R: Row>(table: &Writer<R>, rows: Vec<R>, ours: impl Fn(&R) -> bool) {
    let keys: BTreeSet<R::Key> = rows.iter().map(Row::key).collect();
    table.write(|txn| {
        txn.retain(|row| !ours(row) || keys.contains(&row.key()));
        for row in rows {
            txn.upsert(row);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::fs;

    use statedb::table;

    use super::*;

    #[tokio::test]
    async fn directory_is_followed_live_and_outlives_being_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("m");
        fs::create_dir(&manifests).unwrap();
        let (pods, reader) = table();
        let tables = Tables {
            nodes: table().0,
            ip_pools: table().0,
            pods,
            namespaces: table().0,
            services: table().0,
            backends: table().0,
            rules: table().0,
            alarms: table().0,
        };
        let alarms = tables.alarms.reader();
        let options = ParseOptions {
            cluster: "east".into(),
            default_local_cluster: true,
            families: model::Families { ipv4: true, ipv6: true },
        };
        let run = run(tables, Some(manifests.clone()), options);
        let story = async {
            reader.wait_for(statedb::Snapshot::is_initialised).await;
            let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: cart, namespace: shop}\n";
            fs::write(manifests.join("a.yaml"), pod).unwrap();
            reader.wait_for(|pods| pods.len() == 1).await;
            fs::write(manifests.join("b.yaml"), "kind: [").unwrap();
            alarms.wait_for(|alarms| alarms.len() == 1).await;
            assert_eq!(reader.snapshot().len(), 1);
            fs::remove_file(manifests.join("a.yaml")).unwrap();
            reader.wait_for(statedb::Snapshot::is_empty).await;
        };
        tokio::select! {
            () = run => panic!("the driver never ends"),
            done = tokio::time::timeout(Duration::from_secs(30), story) => done.expect("events arrive"),
        }
    }
}
