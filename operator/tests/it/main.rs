//! An operator against a store in memory and a real etcd: the keys it writes, byte for byte.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[expect(dead_code, reason = "kvstore's own suite uses all of it")]
#[path = "../../../kvstore/client/tests/it/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use kvstore::{Backend, Client, ClientOptions, Etcd, EtcdConfig, KeyValue, Range, fake::Fake};
use model::{ClusterId, ClusterIdLayout};
use operator::{Config, start};
use runtime::{Readiness, Tasks};

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Service
metadata:
  name: cart
  namespace: shop
  labels: {team: t1}
  annotations: {service.cilium.io/global: "true"}
spec:
  clusterIP: 10.96.7.7
  selector: {app: cart}
  ports:
  - {name: http, port: 80, targetPort: 8080, protocol: TCP}
---
apiVersion: v1
kind: Service
metadata: {name: local, namespace: shop}
spec:
  clusterIP: 10.96.7.8
  selector: {app: cart}
  ports:
  - {port: 80}
"#;

const CONFIG: &str = "cilium/cluster-config/east";
const SERVICE: &str = "cilium/state/services/v1/east/shop/cart";

struct Bench {
    store: Arc<dyn Backend>,
    folder: tempfile::TempDir,
    pools: Vec<ipam::ClusterPool>,
}

struct Operator {
    tasks: Tasks,
    readiness: Readiness,
}

impl Bench {
    async fn new(store: Arc<dyn Backend>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shop.yaml"), MANIFESTS).unwrap();
        let bench = Self { store, folder, pools: Vec::new() };
        let labels = "k8s:app=cart;k8s:io.cilium.k8s.policy.cluster=east;k8s:io.kubernetes.pod.namespace=shop;";
        bench.put("cilium/state/identities/v1/id/131073", labels).await;
        let ip = r#"{"IP":"10.2.0.7","Mask":null,"HostIP":"192.0.2.1","ID":131073,"Key":0,"Metadata":"","K8sNamespace":"shop","K8sPodName":"cart-1"}"#;
        bench.put("cilium/state/ip/v1/default/10.2.0.7", ip).await;
        bench.put("cilium/state/nodes/v1/east/n", r#"{"Name":"n","Cluster":"east","ClusterID":2}"#).await;
        bench.put("cilium/state/services/v1/east/shop/stale", "{}").await;
        bench.put("cilium/state/services/v1/east-2/shop/other", "{}").await;
        bench
    }

    fn operator(&self, name: &str, id: u32) -> Operator {
        let (tasks, readiness) = (Tasks::default(), Readiness::default());
        let config = Config {
            cluster: "east".parse().unwrap(),
            id: ClusterId::try_new(id).unwrap(),
            layout: ClusterIdLayout::Max255,
            lease_ttl: Duration::from_secs(900),
            pools: self.pools.clone(),
            multi_pool: true,
            identity_gc: operator::Pace { interval: ROUND, ..operator::Pace::default() },
            nodes_gc_interval: ROUND,
            manifests: Some(self.folder.path().to_owned()),
            identity: name.to_owned(),
        };
        start(&tasks, self.store.clone(), config, &readiness, &prometheus::Registry::new());
        Operator { tasks, readiness }
    }

    async fn put(&self, key: &str, value: &str) {
        self.store.put(key.to_owned().into(), value.to_owned().into(), None).await.unwrap();
    }

    async fn get(&self, key: &str) -> Option<KeyValue> {
        self.store.range(Range::key(key.to_owned())).await.unwrap().kvs.pop()
    }

    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        for _ in 0..6000 {
            if condition().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never happened: {what}");
    }

    async fn holds(&self, key: &str, value: &str) {
        let right = async || self.get(key).await.is_some_and(|kv| kv.value[..] == *value.as_bytes());
        self.until(&format!("{key} = {value}"), right).await;
    }
}

impl Operator {
    async fn stop(self) {
        self.tasks.stop(Duration::from_secs(1)).await;
    }
}

/// Field by field as Cilium's own operator writes it: `wire/testdata/etcd-mode.txt`.
fn service(backends: &str) -> String {
    format!(
        r#"{{"cluster":"east","namespace":"shop","name":"cart","frontends":{{"10.96.7.7":{{"http":{{"Protocol":"TCP","Port":80}}}}}},"backends":{{{backends}}},"labels":{{"team":"t1"}},"selector":{{"app":"cart"}},"includeExternal":true,"shared":true,"clusterID":2}}"#
    )
}

const ONE: &str = r#""10.2.0.7":{"http":{"Protocol":"TCP","Port":8080}}"#;
const TWO: &str =
    r#""10.2.0.7":{"http":{"Protocol":"TCP","Port":8080}},"10.2.0.8":{"http":{"Protocol":"TCP","Port":8080}}"#;
const CLUSTER_CONFIG: &str = r#"{"id":2,"capabilities":{"maxConnectedClusters":255,"serviceExportsEnabled":false}}"#;

async fn story(bench: &Bench) {
    let operator = bench.operator("one", 2);
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    bench.holds(SERVICE, &service(ONE)).await;
    assert_eq!(bench.get(CONFIG).await.unwrap().lease, None);
    assert_eq!(bench.get(SERVICE).await.unwrap().lease, None);
    let heartbeat = bench.get("cilium/.heartbeat").await.unwrap();
    assert!(heartbeat.lease.is_some());
    let time: jiff::Timestamp = std::str::from_utf8(&heartbeat.value).unwrap().parse().unwrap();
    assert_eq!(heartbeat.value.len(), "2026-11-21T08:46:47Z".len(), "{time}");
    bench.until("it is ready", async || operator.readiness.waiting().is_empty()).await;
    let gone = async || bench.get("cilium/state/services/v1/east/shop/stale").await.is_none();
    bench.until("a stale key of ours is collected", gone).await;
    assert!(bench.get("cilium/state/services/v1/east-2/shop/other").await.is_some(), "another cluster's stays");
    assert!(bench.get("cilium/state/services/v1/east/shop/local").await.is_none(), "not global");

    bench.put("cilium/state/ip/v1/default/10.2.0.8", r#"{"IP":"10.2.0.8","ID":131073,"K8sNamespace":"shop"}"#).await;
    bench.holds(SERVICE, &service(TWO)).await;
    bench.store.delete(CONFIG.into()).await.unwrap();
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    bench.put(CONFIG, r#"{"id":9,"capabilities":{}}"#).await;
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    bench.store.delete(SERVICE.into()).await.unwrap();
    bench.holds(SERVICE, &service(TWO)).await;
    let unshared = MANIFESTS.replace(r#""true""#, r#""false""#);
    std::fs::write(bench.folder.path().join("shop.yaml"), unshared).unwrap();
    bench.until("unsharing removes the key", async || bench.get(SERVICE).await.is_none()).await;
    operator.stop().await;
}

#[tokio::test]
async fn keys_in_a_fake() {
    story(&Bench::new(Arc::new(Fake::new())).await).await;
}

#[tokio::test]
async fn keys_in_every_server() {
    for kind in server::kinds("keys_in_every_server") {
        let server = server::Server::start(kind).await;
        let etcd = Etcd::connect(&EtcdConfig::insecure(server.endpoint()), false).unwrap();
        let options = ClientOptions { qps: 0, request_timeout: Duration::from_secs(2), ..ClientOptions::default() };
        story(&Bench::new(Client::new(Arc::new(etcd), options)).await).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_candidate_leads_when_the_leaders_lock_has_ended() {
    let fake = Fake::new();
    let bench = Bench::new(Arc::new(fake.clone())).await;
    let one = bench.operator("one", 2);
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    let two = bench.operator("two", 2);
    let leaders = async || bench.store.range(Range::prefix("causeway/v1/east/leader/")).await.unwrap().kvs.len();
    bench.until("both stand for election", async || leaders().await == 2).await;
    // As if it had been killed: it cannot say goodbye.
    fake.set_unavailable(true);
    one.stop().await;
    fake.set_unavailable(false);
    bench.store.delete(CONFIG.into()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(bench.get(CONFIG).await.is_none(), "the dead leader's lock still stands");
    // Its lease ends; the second one's is renewed all the time.
    for _ in 0..5 {
        fake.advance(Duration::from_secs(6));
        tokio::time::sleep(Duration::from_secs(9)).await;
    }
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    two.stop().await;
}

/// Its successor had to wait for the lock's lease: 17 s without a leader at each upgrade.
#[tokio::test]
async fn a_leader_that_is_asked_to_end_lets_the_next_one_lead_at_once() {
    let bench = Bench::new(Arc::new(Fake::new())).await;
    let one = bench.operator("one", 2);
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    let two = bench.operator("two", 2);
    let leaders = async || bench.store.range(Range::prefix("causeway/v1/east/leader/")).await.unwrap().kvs.len();
    bench.until("both stand for election", async || leaders().await == 2).await;
    one.stop().await;
    let since = std::time::Instant::now();
    bench.store.delete(CONFIG.into()).await.unwrap();
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    // Who only waits leaves the queue too.
    let three = bench.operator("three", 2);
    bench.until("it waits", async || leaders().await == 2).await;
    three.stop().await;
    assert_eq!(leaders().await, 1);
    two.stop().await;
    assert_eq!(leaders().await, 0);
}

/// Readers in other clusters missed it for up to a minute.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_goes_is_back_within_seconds() {
    let bench = Bench::new(Arc::new(Fake::new())).await;
    let one = bench.operator("one", 2);
    let beat = async || bench.get("cilium/.heartbeat").await;
    bench.until("it beats", async || beat().await.is_some()).await;
    let lease = beat().await.unwrap().lease.unwrap();
    bench.store.lease_revoke(lease).await.unwrap();
    assert!(beat().await.is_none());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let again = beat().await.expect("it beats again").lease.unwrap();
    assert_ne!(again, lease);
    bench.store.delete("cilium/.heartbeat".into()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(beat().await.is_some());
    one.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lock_is_lost_steps_down_and_runs_again() {
    let fake = Fake::new();
    let bench = Bench::new(Arc::new(fake.clone())).await;
    let one = bench.operator("one", 2);
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    fake.set_unavailable(true);
    fake.advance(Duration::from_secs(60));
    tokio::time::sleep(Duration::from_secs(60)).await;
    fake.set_unavailable(false);
    bench.put(CONFIG, "{}").await;
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    one.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_cluster_id_nobody_can_read_us() {
    let bench = Bench::new(Arc::new(Fake::new())).await;
    let one = bench.operator("one", 0);
    let beats = async || bench.get("cilium/.heartbeat").await.is_some();
    bench.until("it leads", beats).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(bench.get(CONFIG).await.is_none() && bench.get(SERVICE).await.is_none());
    one.stop().await;
}

/// Nodes publish again first; readers without canaries wait for the configuration meanwhile.
#[tokio::test(start_paused = true)]
async fn after_a_wipe_the_configuration_comes_last() {
    let fake = Fake::new();
    let bench = Bench::new(Arc::new(fake.clone())).await;
    let one = bench.operator("one", 2);
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    bench.holds(SERVICE, &service(ONE)).await;
    fake.wipe(true);
    bench.holds(SERVICE, &service(ONE)).await;
    assert!(bench.get(CONFIG).await.is_none());
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(bench.get(CONFIG).await.is_none(), "the node is not back");
    bench.put("cilium/state/nodes/v1/east/n", r#"{"Name":"n","Cluster":"east","ClusterID":2}"#).await;
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    one.stop().await;
}

/// Between two collections; Cilium's quarter of an hour is long even on a paused clock.
const ROUND: Duration = Duration::from_secs(20);

const UNUSED: &str = "k8s:app=gone;k8s:io.cilium.k8s.policy.cluster=east;";

/// Two rounds; whoever comes back in between keeps its number.
#[tokio::test(start_paused = true)]
async fn numbers_that_nobody_uses_are_collected_and_rest_before_they_are_given_again() {
    let fake = Fake::new();
    let bench = Bench::new(Arc::new(fake.clone())).await;
    let id = |number: u32| format!("cilium/state/identities/v1/id/{number}");
    for number in [131_080, 131_081, 131_082, 65_540] {
        bench.put(&id(number), &format!("k8s:app=a{number};")).await;
    }
    bench.put("cilium/state/identities/v1/value/k8s:app=a131081;/192.0.2.1", "131081").await;
    bench.put("cilium/state/identities/v1/value/k8s:app=cart;k8s:io.cilium.k8s.policy.cluster=east;k8s:io.kubernetes.pod.namespace=shop;/192.0.2.1", "131073").await;
    bench.put(&id(131_083), UNUSED).await;
    let one = bench.operator("one", 2);
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    tokio::time::sleep(ROUND / 2).await;
    // Somebody takes it up again: its key is put once more.
    bench.put(&id(131_082), "k8s:app=a131082;").await;
    assert!(bench.get(&id(131_083)).await.is_some(), "one round only marks");
    tokio::time::sleep(ROUND * 3 / 4).await;
    let there = async |number: u32| bench.get(&id(number)).await.is_some();
    assert_eq!([there(131_080).await, there(131_083).await], [false, false], "unused for two rounds");
    assert_eq!([there(131_081).await, there(131_082).await, there(131_073).await], [true, true, true]);
    assert!(there(65_540).await, "another cluster's number is not ours to collect");
    let rests = bench.get("causeway/v1/east/identity/freed/131083").await.expect("the number rests");
    assert!(rests.lease.is_some());
    // As long as a user's key may outlive its writer, and a while for its writer to put it again.
    fake.advance(Duration::from_secs(1200));
    assert!(bench.get("causeway/v1/east/identity/freed/131083").await.is_some());
    fake.advance(Duration::from_secs(61));
    assert!(bench.get("causeway/v1/east/identity/freed/131083").await.is_none());
    one.stop().await;
}

/// Cilium's allocators take a lock; one that hangs with a lease that lives would stop all others for ever.
#[tokio::test(start_paused = true)]
async fn a_lock_that_is_never_given_back_is_removed() {
    let bench = Bench::new(Arc::new(Fake::new())).await;
    let path = format!("cilium/state/identities/v1/locks/{UNUSED}");
    bench.put(&format!("{path}/7f"), "").await;
    bench.put(&format!("{path}/80"), "").await;
    bench.put("cilium/state/elsewhere/locks/7f", "").await;
    let one = bench.operator("one", 2);
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    assert!(bench.get(&format!("{path}/7f")).await.is_some());
    tokio::time::sleep(Duration::from_secs(26)).await;
    assert!(bench.get(&format!("{path}/7f")).await.is_none(), "seen twice as the oldest");
    assert!(bench.get(&format!("{path}/80")).await.is_some(), "it was not first yet");
    assert!(bench.get("cilium/state/elsewhere/locks/7f").await.is_some());
    one.stop().await;
}

/// Of nodes that an operator of Cilium 1.17 wrote, only the dead go.
#[tokio::test(start_paused = true)]
async fn a_node_that_no_lease_ends_goes_when_nothing_of_it_lives() {
    let bench = Bench::new(Arc::new(Fake::new())).await;
    let node = |name: &str, ip: &str| {
        let addresses = format!(r#"[{{"Type":"InternalIP","IP":"{ip}"}}]"#);
        format!(r#"{{"Name":"{name}","Cluster":"east","ClusterID":2,"IPAddresses":{addresses}}}"#)
    };
    let key = |name: &str| format!("cilium/state/nodes/v1/east/{name}");
    bench.put(&key("dead"), &node("dead", "192.0.2.99")).await;
    bench.put(&key("hosts-pods"), &node("hosts-pods", "192.0.2.1")).await;
    bench.put(&key("uses-labels"), &node("uses-labels", "192.0.2.96")).await;
    bench.put("cilium/state/identities/v1/value/k8s:a=;/192.0.2.96", "131100").await;
    bench.put("cilium/state/nodes/v1/west/other", &node("other", "192.0.2.97")).await;
    let lease = bench.store.lease_grant(ROUND * 100).await.unwrap().id;
    let leased = (key("leased").into(), node("leased", "192.0.2.98").into());
    bench.store.put(leased.0, leased.1, Some(lease)).await.unwrap();
    let one = bench.operator("one", 2);
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    tokio::time::sleep(ROUND * 3 / 2).await;
    assert!(bench.get(&key("dead")).await.is_some(), "one round only marks");
    tokio::time::sleep(ROUND * 2).await;
    assert!(bench.get(&key("dead")).await.is_none());
    for kept in ["hosts-pods", "uses-labels", "leased"] {
        assert!(bench.get(&key(kept)).await.is_some(), "{kept}");
    }
    assert!(bench.get("cilium/state/nodes/v1/west/other").await.is_some(), "another cluster's");
    one.stop().await;
}

/// Agents keep their leases; what an operator wrote has none.
#[tokio::test(start_paused = true)]
async fn a_day_without_an_operator_loses_nothing_and_its_successor_takes_nothing() {
    let fake = Fake::new();
    let bench = Bench::new(Arc::new(fake.clone())).await;
    let lease = bench.store.lease_grant(Duration::from_secs(10 * 86_400)).await.unwrap().id;
    let labels = "k8s:app=cart;k8s:io.cilium.k8s.policy.cluster=east;k8s:io.kubernetes.pod.namespace=shop;";
    let user = format!("cilium/state/identities/v1/value/{labels}/192.0.2.1");
    bench.store.put(user.into(), "131073".into(), Some(lease)).await.unwrap();
    let one = bench.operator("one", 2);
    bench.holds(CONFIG, CLUSTER_CONFIG).await;
    bench.holds(SERVICE, &service(ONE)).await;
    let stale = "cilium/state/services/v1/east/shop/stale";
    bench.until("what is stale already goes", async || bench.get(stale).await.is_none()).await;
    let shared = async || {
        let mut kvs = bench.store.range(Range::prefix("cilium/")).await.unwrap().kvs;
        kvs.retain(|kv| kv.key != b"cilium/.heartbeat"[..]);
        kvs
    };
    let before = shared().await;
    one.stop().await;
    for _ in 0..24 {
        fake.advance(Duration::from_secs(3600));
    }
    assert!(bench.get("cilium/.heartbeat").await.is_none(), "the heart stands still, and nothing else is missed");
    assert_eq!(shared().await, before);
    let two = bench.operator("two", 2);
    bench.until("it beats", async || bench.get("cilium/.heartbeat").await.is_some()).await;
    tokio::time::sleep(ROUND * 40).await;
    assert_eq!(shared().await, before, "not a byte and not a revision has changed");
    two.stop().await;
}

fn share(kv: &KeyValue) -> String {
    assert_eq!(kv.lease, None, "a day without an operator takes nothing back");
    String::from_utf8(kv.value.to_vec()).unwrap()
}

/// Two operators that both believe to lead, and as many nodes as there are shares: none is given twice.
#[tokio::test(start_paused = true)]
async fn ranges_are_handed_out_once_each_and_come_back_only_with_proof() {
    let fake = Fake::new();
    let mut bench = Bench::new(Arc::new(fake.clone())).await;
    let pool = ipam::ClusterPool::try_new(vec!["10.7.0.0/22".parse().unwrap()], 24, true).unwrap();
    bench.pools = vec![pool];
    let published =
        r#"{"Name":"old","Cluster":"east","ClusterID":2,"IPv4AllocCIDR":{"IP":"10.7.0.0","Mask":"////AA=="}}"#;
    bench.put("cilium/state/nodes/v1/east/old", published).await;
    let lease = fake.lease_grant(Duration::from_secs(900)).await.unwrap().id;
    for node in ["a", "b", "c", "d", "old"] {
        let key = format!("causeway/v1/east/ipam/requests/{node}");
        fake.put(key.into(), "cluster-pool".into(), Some(lease)).await.unwrap();
    }
    let one = bench.operator("one", 2);
    let two = bench.operator("two", 2);
    let get = async |node: &str| bench.get(&format!("causeway/v1/east/ipam/nodes/{node}")).await;
    bench.until("all that there are have one", async || get("c").await.is_some() && get("old").await.is_some()).await;
    let mut shares = Vec::new();
    for node in ["a", "b", "c", "old"] {
        shares.push(share(&get(node).await.unwrap()));
    }
    assert_eq!(shares, ["10.7.1.0/24", "10.7.2.0/24", "10.7.3.0/24", "10.7.0.0/24"]);
    assert!(get("d").await.is_none(), "there is no fifth");
    // The lease of all requests ends; nodes that are published or have pods keep their ranges.
    bench.put("cilium/state/ip/v1/default/10.7.2.9", r#"{"IP":"10.7.2.9","ID":131073}"#).await;
    fake.advance(Duration::from_secs(901));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(get("a").await.is_some(), "silence must last");
    tokio::time::sleep(Duration::from_secs(905)).await;
    assert!(get("a").await.is_none() && get("c").await.is_none(), "nothing of them was seen for a lease's time");
    assert_eq!(share(&get("b").await.unwrap()), "10.7.2.0/24", "a pod has an address there");
    assert_eq!(share(&get("old").await.unwrap()), "10.7.0.0/24", "it is published");
    // What came back is given again.
    fake.put("causeway/v1/east/ipam/requests/e".into(), "cluster-pool".into(), None).await.unwrap();
    bench.until("it is given again", async || get("e").await.is_some()).await;
    assert_eq!(share(&get("e").await.unwrap()), "10.7.1.0/24");
    one.stop().await;
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn ranges_of_named_pools_follow_the_objects_and_never_share_an_address() {
    let fake = Fake::new();
    let bench = Bench::new(Arc::new(fake.clone())).await;
    let pool = |name: &str, ipv4: &str, mask: u8| {
        format!(
            "apiVersion: cilium.io/v2alpha1\nkind: CiliumPodIPPool\nmetadata: {{name: {name}}}\nspec: {{ipv4: {{cidrs: [{ipv4}], maskSize: {mask}}}}}\n---\n"
        )
    };
    let write = |text: String| std::fs::write(bench.folder.path().join("pools.yaml"), text).unwrap();
    write(pool("default", "10.0.0.0/16", 24) + &pool("blue", "10.5.0.0/24", 28) + &pool("thief", "10.0.7.0/24", 28));
    for (node, wants) in [("a", "default=8/0,blue=20/0,thief=1/0"), ("b", "default=8/0,blue=1/0"), ("c", "green=1/0")] {
        let key = format!("causeway/v1/east/ipam/requests/{node}");
        fake.put(key.into(), wants.to_owned().into(), None).await.unwrap();
    }
    let one = bench.operator("one", 2);
    let two = bench.operator("two", 2);
    let get = async |node: &str| bench.get(&format!("causeway/v1/east/ipam/nodes/{node}")).await;
    bench.until("both have theirs", async || get("a").await.is_some() && get("b").await.is_some()).await;
    assert_eq!(share(&get("a").await.unwrap()), "blue=10.5.0.0/28,blue=10.5.0.16/28,10.0.0.0/24");
    assert_eq!(share(&get("b").await.unwrap()), "blue=10.5.0.32/28,10.0.1.0/24");
    assert!(get("c").await.is_none(), "there is no such pool");
    write(pool("default", "10.0.0.0/16", 24) + &pool("green", "10.6.0.0/24", 26));
    bench.until("the new pool gives", async || get("c").await.is_some()).await;
    assert_eq!(share(&get("c").await.unwrap()), "green=10.6.0.0/26");
    assert!(share(&get("a").await.unwrap()).contains("blue"), "a pool that goes takes nothing back");
    one.stop().await;
    two.stop().await;
}
