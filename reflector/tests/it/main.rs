//! Imports and exports against a store in memory and a real etcd.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[expect(dead_code, reason = "kvstore's own suite uses all of it")]
#[path = "../../../kvstore/client/tests/it/server.rs"]
mod server;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kvstore::{Backend, Client, ClientOptions, Etcd, EtcdConfig, Leases, Range, fake::Fake};
use model::{ClusterId, ClusterIdLayout, ClusterName, Source};
use reflector::{Exporter, Freshness, Import, Metrics, restore, save_loop};
use statedb::reconciler::{Handle, Options};
use statedb::{Reader, Writer, table};
use tables::{Alarm, Export, Identity, IpClaim, NodeRow, Origin, Rejected, RemoteService};

type Task = Pin<Box<dyn Future<Output = ()>>>;

struct Bench {
    store: Arc<dyn Backend>,
    leases: Arc<Leases>,
    ips: (Writer<IpClaim>, Reader<IpClaim>),
    nodes: (Writer<NodeRow>, Reader<NodeRow>),
    identities: (Writer<Identity>, Reader<Identity>),
    services: (Writer<RemoteService>, Reader<RemoteService>),
    rejected: (Writer<Rejected>, Reader<Rejected>),
    alarms: (Writer<Alarm>, Reader<Alarm>),
    exports: (Writer<Export>, Reader<Export>),
    exporter: Exporter,
}

fn cluster() -> ClusterName {
    "east".parse().unwrap()
}

fn id() -> ClusterId {
    ClusterId::try_new(1).unwrap()
}

impl Bench {
    fn new(store: Arc<dyn Backend>) -> Self {
        let exports = table();
        let leases = Leases::new(store.clone(), Duration::from_secs(900));
        let exporter = Exporter::new(store.clone(), leases.clone(), exports.1.clone(), vec!["own/".to_owned()]);
        Self {
            store,
            leases,
            ips: table(),
            nodes: table(),
            identities: table(),
            services: table(),
            rejected: table(),
            alarms: table(),
            exports,
            exporter,
        }
    }

    fn import(&self) -> Import {
        Import {
            store: self.store.clone(),
            cluster: cluster(),
            source: Source::Kvstore,
            cached: false,
            rejected: self.rejected.0.clone(),
            alarms: self.alarms.0.clone(),
            metrics: Metrics::unregistered(),
            health: Freshness::default().store(&cluster(), Duration::from_secs(900)),
            border: None,
            exporter: Some(self.exporter.clone()),
            quota: usize::MAX,
        }
    }

    fn imports(&self) -> Task {
        let layout = ClusterIdLayout::Max255;
        let nodes = self.import().nodes(id(), Some("self".parse().unwrap()), self.nodes.0.clone());
        let ips = self.import().ips(id(), layout, self.ips.0.clone());
        let identities = self.import().identities(id(), layout, self.identities.0.clone());
        let services = self.import().services(id(), self.services.0.clone());
        Box::pin(async move {
            tokio::select! { () = nodes => {}, () = ips => {}, () = identities => {}, () = services => {} }
        })
    }

    fn export(&self) -> Task {
        let handle = Handle::new(Options { backoff: Duration::from_millis(20), ..Options::default() });
        let (exporter, leases) = (self.exporter.clone(), self.leases.clone());
        Box::pin(async move {
            tokio::select! { () = exporter.run(handle) => {}, () = leases.keep_alive() => {} }
        })
    }

    async fn get(&self, key: &str) -> Option<kvstore::KeyValue> {
        self.store.range(Range::key(key.to_owned())).await.unwrap().kvs.pop()
    }

    async fn put(&self, key: &str, value: &str) {
        let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
        self.store.put(key, value, None).await.unwrap();
    }

    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        for _ in 0..3000 {
            if condition().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never happened: {what}");
    }
}

/// Runs a story while the tasks run.
async fn with(tasks: impl IntoIterator<Item = Task>, story: impl Future<Output = ()>) {
    let mut all: Vec<Task> = tasks.into_iter().collect();
    let any = std::future::poll_fn(move |cx| {
        for task in &mut all {
            if task.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(());
            }
        }
        std::task::Poll::Pending
    });
    tokio::select! {
        () = any => panic!("a task ended"),
        () = story => {}
    }
}

async fn etcd(server: &server::Server) -> Arc<dyn Backend> {
    let etcd = Etcd::connect(&EtcdConfig::insecure(server.endpoint()), false).unwrap();
    let options = ClientOptions { qps: 0, request_timeout: Duration::from_secs(2), ..ClientOptions::default() };
    Client::new(Arc::new(etcd), options)
}

const IP: &str = "cilium/state/ip/v1/default/10.1.0.1";

async fn import_story(bench: &Bench) {
    bench.put(IP, r#"{"IP":"10.1.0.1","Mask":null,"HostIP":"192.0.2.1","ID":65537,"Key":0,"Metadata":""}"#).await;
    bench.put("cilium/state/nodes/v1/east/a", r#"{"Name":"a","Cluster":"east","ClusterID":1}"#).await;
    bench.put("cilium/state/nodes/v1/east/self", r#"{"Name":"self","Cluster":"east","ClusterID":1}"#).await;
    bench.put("cilium/state/nodes/v1/east-2/a", r#"{"Name":"a","Cluster":"east-2","ClusterID":1}"#).await;
    bench.put("cilium/state/identities/v1/id/65537", "k8s:app=a;").await;
    bench.put("cilium/state/identities/v1/id/9", "k8s:app=a;").await;
    let story = async {
        bench.ips.1.wait_for(|ips| ips.is_initialised()).await;
        bench.nodes.1.wait_for(|nodes| nodes.is_initialised()).await;
        bench.services.1.wait_for(|services| services.is_initialised()).await;
        let identities = bench.identities.1.wait_for(|identities| identities.is_initialised()).await;
        let identity = identities.iter().next().unwrap();
        assert_eq!(identity.origin, Origin::new(Source::Kvstore, cluster()));
        assert!(identity.create_revision > 0);
        assert_eq!(identities.len(), 1);
        let nodes = bench.nodes.1.snapshot();
        assert_eq!(nodes.iter().map(|row| row.node.name.to_string()).collect::<Vec<_>>(), ["a"]);
        let rejected = bench.rejected.1.snapshot();
        assert_eq!(rejected.iter().map(|row| &*row.key).collect::<Vec<_>>(), ["cilium/state/identities/v1/id/9"]);
        bench.store.delete(IP.into()).await.unwrap();
        bench.ips.1.wait_for(|ips| ips.is_empty()).await;
    };
    with([bench.imports()], story).await;
}

async fn export_story(bench: &Bench) {
    bench.put("own/stale", "x").await;
    bench.put("other/stale", "x").await;
    let row = |key: &str, value: &str, leased| Export { key: key.into(), value: value.as_bytes().into(), leased };
    for n in 0..300 {
        bench.exports.0.upsert(row(&format!("many/{n}"), "1", true));
    }
    bench.exports.0.upsert(row("own/plain", "1", false));
    let follow = Box::pin(bench.exporter.clone().follow_own("own/".to_owned()));
    let story = async {
        // Written in order of their text, a transaction for so many each.
        bench.until("all keys are there", async || bench.get("many/99").await.is_some()).await;
        bench.until("the plain one too", async || bench.get("own/plain").await.is_some()).await;
        assert!(bench.get("many/7").await.unwrap().lease.is_some());
        assert_eq!(bench.get("own/plain").await.unwrap().lease, None);
        bench.until("stale keys of ours go", async || bench.get("own/stale").await.is_none()).await;
        assert!(bench.get("other/stale").await.is_some(), "others' stay");
        bench.exports.0.delete(&"many/3".into());
        bench.until("a deleted row's key goes", async || bench.get("many/3").await.is_none()).await;
        // Somebody else deletes and changes keys of ours.
        bench.store.delete("own/plain".into()).await.unwrap();
        bench.until("put again", async || bench.get("own/plain").await.is_some()).await;
        bench.put("own/plain", "2").await;
        bench.until("set right", async || bench.get("own/plain").await.unwrap().value[..] == b"1"[..]).await;
        // The store forgets our lease, and the keys with it.
        let lease = bench.leases.held()[0];
        bench.store.lease_revoke(lease).await.unwrap();
        assert!(bench.get("many/5").await.is_none());
        bench.leases.handle_lease_not_found(lease);
        bench.until("put again", async || bench.get("many/5").await.is_some()).await;
        bench.until("all of them", async || bench.get("many/299").await.is_some()).await;
        let again = bench.get("many/5").await.unwrap();
        assert!(again.lease.is_some_and(|l| l != lease));
    };
    with([bench.export(), follow], story).await;
}

#[tokio::test]
async fn imports_of_a_fake() {
    import_story(&Bench::new(Arc::new(Fake::new()))).await;
}

#[tokio::test]
async fn exports_to_a_fake() {
    export_story(&Bench::new(Arc::new(Fake::new()))).await;
}

#[tokio::test]
async fn imports_and_exports_of_every_server() {
    for kind in server::kinds("imports_and_exports_of_every_server") {
        let server = server::Server::start(kind).await;
        import_story(&Bench::new(etcd(&server).await)).await;
        export_story(&Bench::new(etcd(&server).await)).await;
    }
}

/// The lease is gone without our knowing: the next write finds out, and heals the other keys.
#[tokio::test]
async fn a_lost_lease_is_found_by_the_next_write() {
    let bench = Bench::new(Arc::new(Fake::new()));
    let row = |key: &str| Export { key: key.into(), value: b"1"[..].into(), leased: true };
    bench.exports.0.upsert(row("a"));
    let story = async {
        bench.until("a is there", async || bench.get("a").await.is_some()).await;
        bench.store.lease_revoke(bench.leases.held()[0]).await.unwrap();
        bench.exports.0.upsert(row("b"));
        bench.until("b is there", async || bench.get("b").await.is_some()).await;
        bench.until("a is back", async || bench.get("a").await.is_some()).await;
    };
    with([bench.export()], story).await;
}

#[tokio::test]
async fn a_resync_writes_nothing_that_is_right() {
    let bench = Bench::new(Arc::new(Fake::new()));
    bench.exports.0.upsert(Export { key: "a".into(), value: b"1"[..].into(), leased: true });
    let handle = Handle::new(Options { resync: Duration::from_millis(30), ..Options::default() });
    let run = Box::pin(bench.exporter.clone().run(handle));
    let story = async {
        bench.until("a is there", async || bench.get("a").await.is_some()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(bench.get("a").await.unwrap().version, 1);
        bench.store.delete("a".into()).await.unwrap();
        bench.until("the resync finds it", async || bench.get("a").await.is_some()).await;
    };
    with([run as Task], story).await;
}

#[tokio::test(start_paused = true)]
async fn restored_rows_stand_until_the_first_list() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let bench = Bench::new(Arc::new(fake.clone()));
    for n in 1..=2 {
        bench
            .put(&format!("cilium/state/ip/v1/default/10.1.0.{n}"), &format!(r#"{{"IP":"10.1.0.{n}","ID":65537}}"#))
            .await;
        bench
            .put(
                &format!("cilium/state/nodes/v1/east/n{n}"),
                &format!(r#"{{"Name":"n{n}","Cluster":"east","ClusterID":1}}"#),
            )
            .await;
        let service = format!(r#"{{"cluster":"east","namespace":"ns","name":"s{n}","shared":true,"clusterID":1}}"#);
        bench.put(&format!("cilium/state/services/v1/east/ns/s{n}"), &service).await;
        bench.put(&format!("cilium/state/identities/v1/id/6553{}", 6 + n), "k8s:app=a;").await;
    }
    let path = folder.path().to_owned();
    let saves: [Task; 4] = [
        Box::pin(save_loop(path.clone(), bench.ips.1.clone())),
        Box::pin(save_loop(path.clone(), bench.nodes.1.clone())),
        Box::pin(save_loop(path.clone(), bench.services.1.clone())),
        Box::pin(save_loop(path.clone(), bench.identities.1.clone())),
    ];
    let story = async {
        bench.until("all are written", async || std::fs::read_dir(&path).unwrap().count() == 4).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    };
    with(saves.into_iter().chain([bench.imports()]), story).await;

    fake.set_unavailable(true);
    let second = Bench::new(Arc::new(fake.clone()));
    assert_eq!(restore(&path, &second.ips.0).unwrap(), 2);
    assert_eq!(restore(&path, &second.nodes.0).unwrap(), 2);
    assert_eq!(restore(&path, &second.services.0).unwrap(), 2);
    assert_eq!(restore(&path, &second.identities.0).unwrap(), 2);
    assert!(second.ips.1.snapshot().iter().all(|row| row.origin.source == Source::Restored));
    let story = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(second.ips.1.snapshot().len(), 2, "with the store down they stay");
        fake.set_unavailable(false);
        for key in ["ip/v1/default/10.1.0.1", "nodes/v1/east/n1", "services/v1/east/ns/s1", "identities/v1/id/65537"] {
            second.store.delete(format!("cilium/state/{key}").into()).await.unwrap();
        }
        second.ips.1.wait_for(|ips| ips.is_initialised()).await;
        let ips = second.ips.1.snapshot();
        assert_eq!(ips.len(), 1);
        assert!(ips.iter().all(|row| row.origin.source == Source::Kvstore));
        assert_eq!(second.nodes.1.wait_for(|t| t.is_initialised()).await.len(), 1);
        assert_eq!(second.services.1.wait_for(|t| t.is_initialised()).await.len(), 1);
        let identities = second.identities.1.wait_for(|t| t.is_initialised()).await;
        assert_eq!(identities.len(), 1);
        assert!(identities.iter().all(|row| row.origin.source == Source::Kvstore && row.create_revision > 0));
    };
    with([second.imports()], story).await;
}

/// A store that forgot everything but is refilled: rows stay until heartbeats were fresh for a lease TTL.
#[tokio::test(start_paused = true)]
async fn a_wiped_store_costs_rows_only_after_a_lease_ttl_of_heartbeats() {
    let fake = Fake::new();
    let bench = Bench::new(Arc::new(fake.clone()));
    bench.put(IP, r#"{"IP":"10.1.0.1","ID":65537}"#).await;
    let import = bench.import();
    let heartbeat = Box::pin(import.clone().heartbeat());
    let ips: Task = Box::pin(import.ips(id(), ClusterIdLayout::Max255, bench.ips.0.clone()));
    let story = async {
        bench.ips.1.wait_for(|ips| ips.is_initialised()).await;
        fake.wipe(true);
        tokio::time::sleep(Duration::from_secs(1800)).await;
        assert_eq!(bench.ips.1.snapshot().len(), 1);
        assert_eq!(bench.alarms.1.snapshot().len(), 1);
        for minute in 0..20 {
            bench.put("cilium/.heartbeat", "now").await;
            tokio::time::sleep(Duration::from_secs(60)).await;
            if minute != 14 {
                assert_eq!(bench.ips.1.snapshot().len(), usize::from(minute < 14), "minute {minute}");
            }
        }
        assert!(bench.alarms.1.snapshot().is_empty());
    };
    with([heartbeat as Task, ips], story).await;
}

/// The nodes' keys were older than the snapshot, so their watch went on and nobody ever said that they were back: the alarm
/// stood until heartbeats had been fresh for a lease's time.
#[tokio::test(start_paused = true)]
async fn what_a_restored_snapshot_lacks_leaves_within_a_minute_when_nobody_puts_it_again() {
    let fake = Fake::new();
    let bench = Bench::new(Arc::new(fake.clone()));
    bench.put("cilium/state/nodes/v1/east/a", r#"{"Name":"a","Cluster":"east","ClusterID":1}"#).await;
    bench.put("cilium/state/identities/v1/id/65537", "k8s:app=a;").await;
    let import = bench.import();
    let nodes: Task = Box::pin(import.clone().nodes(id(), None, bench.nodes.0.clone()));
    let identities: Task = Box::pin(import.identities(id(), ClusterIdLayout::Max255, bench.identities.0.clone()));
    let story = async {
        bench.nodes.1.wait_for(|nodes| nodes.is_initialised()).await;
        let saved = fake.save();
        bench.put("cilium/state/identities/v1/id/65538", "k8s:app=b;").await;
        bench.identities.1.wait_for(|identities| identities.len() == 2).await;
        fake.go_back(&saved);
        bench.alarms.1.wait_for(|alarms| !alarms.is_empty()).await;
        assert_eq!(bench.identities.1.snapshot().len(), 2, "nothing is believed gone at once");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(bench.identities.1.snapshot().len(), 1);
        assert!(bench.alarms.1.snapshot().is_empty());
        assert_eq!(bench.nodes.1.snapshot().len(), 1);
    };
    with([nodes, identities], story).await;
}

/// Only when a heartbeat came counts (Cilium never reads it); nonsense in it is shown, and gone with it.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_no_time_is_a_heartbeat_and_is_shown() {
    let bench = Bench::new(Arc::new(Fake::new()));
    bench.put("cilium/.heartbeat", "garbage").await;
    let import = bench.import();
    let (health, seen) = (import.health.clone(), bench.rejected.1.clone());
    let age = || health.heartbeat_age(tokio::time::Instant::now().into_std());
    let story = async {
        seen.wait_for(|rows| rows.text().contains("\"garbage\" is not a time")).await;
        assert_eq!(age(), Some(Duration::ZERO));
        tokio::time::sleep(Duration::from_secs(60)).await;
        bench.put("cilium/.heartbeat", "2026-11-21T08:46:47Z").await;
        seen.wait_for(|rows| rows.is_empty()).await;
        assert_eq!(age(), Some(Duration::ZERO));
    };
    tokio::select! {
        () = import.clone().heartbeat() => panic!("it ended"),
        done = tokio::time::timeout(Duration::from_secs(600), story) => done.unwrap(),
    }
}
