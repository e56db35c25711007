//! A remote cluster's life, against stores in memory and a real etcd.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[expect(dead_code, reason = "kvstore's own suite uses all of it")]
#[path = "../../../kvstore/client/tests/it/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clustermesh::{Connect, Options, Own, ServiceMode, Tables, etcd_connector};
use kvstore::{Backend, Client, ClientOptions, fake::Fake};
use model::{ClusterId, ClusterIdLayout, EndpointSlice};
use reflector::{Freshness, Metrics};
use runtime::Tasks;
use statedb::{Reader, Row, Writer, table};
use tables::{Alarm, Identity, IpClaim, NodeRow, Rejected, RemoteCluster, RemoteService, RemoteSlice};

struct Bench {
    folder: tempfile::TempDir,
    tasks: Tasks,
    tables: Tables,
    ips: Reader<IpClaim>,
    nodes: Reader<NodeRow>,
    identities: Reader<Identity>,
    services: Reader<RemoteService>,
    slices: Reader<RemoteSlice>,
    remotes: Reader<RemoteCluster>,
    rejected: Reader<Rejected>,
    alarms: Reader<Alarm>,
}

impl Bench {
    fn start(connect: Connect) -> Self {
        Self::reading(connect, ServiceMode::PreferLegacy)
    }

    fn reading(connect: Connect, service_mode: ServiceMode) -> Self {
        fn both<R: Row>() -> (Writer<R>, Reader<R>) {
            table()
        }
        let (ips, nodes, identities, services) = (both(), both(), both(), both());
        let (slices, remotes, rejected, alarms) = (both(), both(), both(), both());
        let tables = Tables {
            nodes: nodes.0,
            ips: ips.0,
            identities: identities.0,
            global_services: services.0,
            remote_slices: slices.0,
            frontends: None,
            remote_clusters: remotes.0,
            rejected: rejected.0,
            alarms: alarms.0,
        };
        let options = Options {
            own: Own {
                name: "east".parse().unwrap(),
                id: ClusterId::try_new(1).unwrap(),
                layout: ClusterIdLayout::Max255,
            },
            connect,
            lease_ttl: Duration::from_secs(900),
            freshness: Freshness::default(),
            metrics: Metrics::unregistered(),
            service_mode,
        };
        let folder = tempfile::tempdir().unwrap();
        let tasks = Tasks::default();
        let run = clustermesh::run(tasks.clone(), Some(folder.path().to_owned()), options, tables.clone());
        tasks.spawn("clustermesh", run);
        Self {
            folder,
            tasks,
            tables,
            ips: ips.1,
            nodes: nodes.1,
            identities: identities.1,
            services: services.1,
            slices: slices.1,
            remotes: remotes.1,
            rejected: rejected.1,
            alarms: alarms.1,
        }
    }

    fn file(&self, name: &str, endpoint: &str) {
        let path = self.folder.path().join(name);
        // As a kubelet or an editor does: never half a file.
        let temporary = self.folder.path().join(".tmp");
        std::fs::write(&temporary, format!("endpoints: [\"{endpoint}\"]\n")).unwrap();
        std::fs::rename(temporary, path).unwrap();
    }

    async fn ready(&self, count: usize) {
        let ready =
            |remotes: &statedb::Snapshot<RemoteCluster>| remotes.iter().filter(|row| row.is_ready()).count() == count;
        let waited = tokio::time::timeout(Duration::from_secs(300), self.remotes.wait_for(ready)).await;
        assert!(waited.is_ok(), "not ready:\n{}", self.remotes.snapshot().text());
    }

    fn counts(&self) -> [usize; 4] {
        [
            self.nodes.snapshot().len(),
            self.ips.snapshot().len(),
            self.identities.snapshot().len(),
            self.services.snapshot().len(),
        ]
    }

    fn status(&self) -> String {
        self.remotes.snapshot().iter().map(|row| row.status.to_string()).collect::<Vec<_>>().join("; ")
    }
}

async fn put(store: &Arc<dyn Backend>, key: &str, value: &str) {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    store.put(key, value, None).await.unwrap();
}

/// A small cluster in etcd mode, with an address that lies and an identity of another.
async fn fill(store: &Arc<dyn Backend>, name: &str, id: u32) {
    let base = id << 16;
    let config =
        format!(r#"{{"id":{id},"capabilities":{{"maxConnectedClusters":255,"serviceExportsEnabled":false}}}}"#);
    put(store, &format!("cilium/cluster-config/{name}"), &config).await;
    put(store, "cilium/.heartbeat", "now").await;
    let node = format!(r#"{{"Name":"n","Cluster":"{name}","ClusterID":{id}}}"#);
    put(store, &format!("cilium/state/nodes/v1/{name}/n"), &node).await;
    put(store, "cilium/state/ip/v1/default/10.2.0.1", &format!(r#"{{"IP":"10.2.0.1","ID":{}}}"#, base + 1)).await;
    put(store, "cilium/state/ip/v1/default/10.2.0.2", r#"{"IP":"10.2.0.2","ID":65537}"#).await;
    let labels = format!("k8s:app=a;k8s:io.cilium.k8s.policy.cluster={name};");
    put(store, &format!("cilium/state/identities/v1/id/{}", base + 1), &labels).await;
    put(store, &format!("cilium/state/identities/v1/id/{}", base + 2), "k8s:io.cilium.k8s.policy.cluster=east;").await;
    let service = format!(
        r#"{{"cluster":"{name}","namespace":"ns","name":"s","frontends":{{}},"backends":{{}},"labels":{{}},"selector":{{}},"includeExternal":true,"shared":true,"clusterID":{id}}}"#
    );
    put(store, &format!("cilium/state/services/v1/{name}/ns/s"), &service).await;
}

fn fakes(stores: &[(&str, &Fake)]) -> Connect {
    let stores: BTreeMap<String, Fake> =
        stores.iter().map(|(endpoint, fake)| ((*endpoint).to_owned(), (*fake).clone())).collect();
    Arc::new(move |config| {
        let fake = stores[&config.endpoints[0]].clone();
        let options = ClientOptions { qps: 0, ..ClientOptions::default() };
        Box::pin(async move { Ok(Client::new(Arc::new(fake), options)) })
    })
}

#[tokio::test(start_paused = true)]
async fn a_lost_cluster_changes_nothing_and_a_removed_file_drains_it() {
    let west = Fake::new();
    let store: Arc<dyn Backend> = Arc::new(west.clone());
    fill(&store, "west", 2).await;
    let bench = Bench::start(fakes(&[("http://west:1", &west)]));
    assert!(!bench.ips.snapshot().is_initialised(), "before the directory is read");
    bench.file("west", "http://west:1");
    bench.ready(1).await;
    assert_eq!(bench.counts(), [1; 4]);
    assert_eq!(bench.rejected.snapshot().len(), 2, "{}", bench.rejected.snapshot().text());
    assert!(bench.ips.snapshot().is_initialised());

    west.set_unavailable(true);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(bench.counts(), [1; 4]);
    let remotes = bench.remotes.snapshot();
    let row = remotes.iter().next().unwrap();
    assert!(!row.connected && row.failures > 1, "{}", remotes.text());
    assert!(bench.status().contains("switched off"), "{}", bench.status());
    west.set_unavailable(false);
    store.delete("cilium/state/ip/v1/default/10.2.0.1".into()).await.unwrap();
    bench.ready(1).await;
    bench.ips.wait_for(|ips| ips.is_empty()).await;
    assert_eq!(bench.counts(), [1, 0, 1, 1]);

    std::fs::remove_file(bench.folder.path().join("west")).unwrap();
    bench.remotes.wait_for(|remotes| remotes.is_empty()).await;
    assert_eq!(bench.counts(), [0; 4]);
    assert!(bench.rejected.snapshot().is_empty() && bench.alarms.snapshot().is_empty());
    bench.tasks.stop(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn slices_take_over_from_services_once_they_are_there_and_damaged_ones_are_shown() {
    let west = Fake::new();
    let store: Arc<dyn Backend> = Arc::new(west.clone());
    fill(&store, "west", 2).await;
    let slice = EndpointSlice {
        cluster: "west".parse().unwrap(),
        cluster_id: ClusterId::try_new(2).unwrap(),
        name: "ns/s-abc".parse().unwrap(),
        labels: [(model::SERVICE_NAME.to_owned(), "s".to_owned())].into(),
        annotations: [].into(),
        ipv4: true,
        endpoints: Vec::new(),
        ports: Vec::new(),
    };
    let key = wire::endpoint_slice::key(&slice.cluster, &slice.name);
    store.put(key.into(), wire::endpoint_slice::encode(&slice).into(), None).await.unwrap();
    put(&store, "cilium/state/endpointslices/v1/west/ns/broken", "no zstd").await;
    let bench = Bench::reading(fakes(&[("http://west:1", &west)]), ServiceMode::PreferEndpointSlice);
    bench.file("west", "http://west:1");
    bench.ready(1).await;
    assert_eq!((bench.services.snapshot().len(), bench.slices.snapshot().len()), (1, 0), "it exports services only");

    let config =
        r#"{"id":2,"capabilities":{"maxConnectedClusters":255,"endpointSlicesExportMode":"endpointslices-only"}}"#;
    put(&store, "cilium/cluster-config/west", config).await;
    let mut services = bench.services.changes();
    services.drain();
    // The configuration is read anew with the next connection.
    west.set_unavailable(true);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(services.drain().is_empty(), "nothing goes while there is nothing instead");
    west.set_unavailable(false);
    bench.services.wait_for(|services| services.is_empty()).await;
    assert_eq!(bench.slices.snapshot().len(), 1, "they were there before the services went");
    bench.ready(1).await;
    let rejected = bench.rejected.snapshot();
    assert!(rejected.text().contains("endpointslices/v1/west/ns/broken"), "{}", rejected.text());
    std::fs::remove_file(bench.folder.path().join("west")).unwrap();
    bench.remotes.wait_for(|remotes| remotes.is_empty()).await;
    assert!(bench.slices.snapshot().is_empty());
    bench.tasks.stop(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn heartbeats_that_stop_cost_a_reconnect_and_no_row() {
    let west = Fake::new();
    let store: Arc<dyn Backend> = Arc::new(west.clone());
    fill(&store, "west", 2).await;
    let bench = Bench::start(fakes(&[("http://west:1", &west)]));
    bench.file("west", "http://west:1");
    bench.ready(1).await;
    let mut changes = bench.tables.ips.reader().changes();
    changes.drain();
    tokio::time::sleep(Duration::from_secs(610)).await;
    let failures = bench.remotes.snapshot().iter().next().unwrap().failures;
    assert!((4..=5).contains(&failures), "every two minutes: {failures}");
    assert!(changes.drain().is_empty());
    bench.ready(1).await;
    bench.tasks.stop(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn another_id_drains_and_a_changed_file_does_not() {
    let (west, moved) = (Fake::new(), Fake::new());
    let store: Arc<dyn Backend> = Arc::new(west.clone());
    let other: Arc<dyn Backend> = Arc::new(moved.clone());
    fill(&store, "west", 2).await;
    fill(&other, "west", 3).await;
    let bench = Bench::start(fakes(&[("http://west:1", &west), ("http://west:2", &moved)]));
    bench.file("west", "http://west:1");
    bench.ready(1).await;
    bench.file("west", "http://west:2");
    let renumbered = |ids: &statedb::Snapshot<Identity>| ids.iter().any(|row| row.id.get() >> 16 == 3);
    bench.identities.wait_for(renumbered).await;
    bench.ready(1).await;
    assert_eq!(bench.counts(), [1; 4]);
    assert!(bench.identities.snapshot().iter().all(|row| row.id.get() >> 16 == 3));
    bench.tasks.stop(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_mirror_is_read_behind_its_canaries() {
    let mirror = Fake::new();
    let store: Arc<dyn Backend> = Arc::new(mirror.clone());
    let config = r#"{"id":2,"capabilities":{"syncedCanaries":true,"cached":true,"maxConnectedClusters":255}}"#;
    put(&store, "cilium/cluster-config/west", config).await;
    put(&store, "cilium/cache/ip/v1/west/10.2.0.1", r#"{"IP":"10.2.0.1","ID":131073}"#).await;
    put(&store, "cilium/cache/nodes/v1/west/n", r#"{"Name":"n","Cluster":"west","ClusterID":2}"#).await;
    put(&store, "cilium/cache/identities/v1/west/id/131073", "k8s:io.cilium.k8s.policy.cluster=west;").await;
    put(&store, "cilium/synced/west/cilium/cache/nodes/v1", "now").await;
    let bench = Bench::start(fakes(&[("http://west:1", &mirror)]));
    bench.file("west", "http://west:1");
    bench.nodes.wait_for(|nodes| nodes.len() == 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.counts(), [1, 0, 0, 0]);
    assert_eq!(bench.status(), "syncing");
    for resource in ["ip/v1", "identities/v1", "services/v1"] {
        put(&store, &format!("cilium/synced/west/cilium/cache/{resource}"), "now").await;
    }
    bench.ready(1).await;
    assert_eq!(bench.counts(), [1, 1, 1, 0]);
    bench.tasks.stop(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn our_own_name_or_id_is_no_remote() {
    let (west, north) = (Fake::new(), Fake::new());
    for (fake, name) in [(&west, "west"), (&north, "north")] {
        let store: Arc<dyn Backend> = Arc::new(fake.clone());
        fill(&store, name, if name == "west" { 1 } else { 9 }).await;
    }
    let bench = Bench::start(fakes(&[("http://west:1", &west), ("http://north:1", &north)]));
    bench.file("east", "http://west:1");
    bench.file("west", "http://west:1");
    bench.file("north", "http://north:1");
    bench.ready(1).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(bench.status().contains("clusterID 1 is assigned to the local cluster"), "{}", bench.status());
    assert!(bench.alarms.snapshot().text().contains("our own cluster"), "{}", bench.alarms.snapshot().text());
    assert_eq!(bench.nodes.snapshot().len(), 1);
    bench.tasks.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_cluster_behind_every_server() {
    for kind in server::kinds("a_cluster_behind_every_server") {
        a_cluster_behind(server::Server::start(kind).await).await;
    }
}

async fn a_cluster_behind(mut server: server::Server) {
    let options = kvstore::Options::parse("etcd.qps=0").unwrap();
    let connect = etcd_connector(options);
    let client = connect(kvstore::EtcdConfig::insecure(server.endpoint())).await.unwrap();
    let store: Arc<dyn Backend> = client;
    fill(&store, "west", 2).await;
    let bench = Bench::start(connect);
    let endpoint = server.endpoint();
    write(bench.folder.path(), "west", &endpoint);
    bench.ready(1).await;
    assert_eq!(bench.counts(), [1; 4]);
    server.kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.counts(), [1; 4]);
    server.run().await;
    store.delete("cilium/state/ip/v1/default/10.2.0.1".into()).await.unwrap();
    let gone = bench.ips.wait_for(|ips| ips.is_empty());
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    assert_eq!(bench.counts(), [1, 0, 1, 1]);
    bench.tasks.stop(Duration::from_secs(1)).await;
}

fn write(folder: &Path, name: &str, endpoint: &str) {
    std::fs::write(folder.join(name), format!("endpoints:\n- {endpoint}\n")).unwrap();
}
