//! The lifecycle, told by its effects.

use statedb::{Writer, table};
use tables::MacAddr;

use super::*;

struct Bench {
    core: Core,
    pods: Writer<Pod>,
    namespaces: Writer<Namespace>,
    now: Instant,
}

fn request(container: &str, ip: &str) -> CreateRequest {
    CreateRequest {
        container_id: container.into(),
        netns: "/run/netns/pod".into(),
        container_ifname: "eth0".into(),
        host_ifname: "lxc1".into(),
        host_ifindex: 7,
        mac: MacAddr::default(),
        host_mac: MacAddr::default(),
        ipv4: ip.parse().ok(),
        ipv6: None,
        namespace: "shop".into(),
        pod_name: container.into(),
    }
}

impl Bench {
    fn new() -> Self {
        let core = Core::new(Labelling {
            cluster: ClusterName::try_new("east").unwrap(),
            filter: LabelFilter::default(),
            fixed: "130=cart".parse().unwrap(),
        });
        Self { core, pods: table().0, namespaces: table().0, now: Instant::now() }
    }

    fn pod(&mut self, name: &str, app: &str) {
        let labels = [("app".to_owned(), app.to_owned())].into();
        let (service_account, named_ports) = ("default".into(), Vec::new());
        self.pods.upsert(Pod {
            namespace: "shop".into(),
            name: name.into(),
            labels,
            service_account,
            named_ports,
            pools: Default::default(),
        });
        self.core.handle_objects(self.now, &self.pods.reader().snapshot(), &self.namespaces.reader().snapshot());
    }

    fn create(&mut self, container: &str, ip: &str) -> Result<EndpointId, CreateError> {
        let (pods, namespaces) = (self.pods.reader().snapshot(), self.namespaces.reader().snapshot());
        self.core.handle_create(self.now, request(container, ip), &pods, &namespaces)
    }

    fn grant(&mut self, app: &str, answer: Grant) {
        let labels = self.core.requests.keys().find(|labels| labels.value(None, "app") == Some(app)).cloned();
        self.core.handle_grant(self.now, labels.expect("somebody asked"), Some(answer));
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.core.handle_timeout(self.now);
    }

    /// What is to be done, a word each.
    fn effects(&mut self) -> String {
        let app = |labels: &Labels| labels.value(None, "app").unwrap_or("-").to_owned();
        let show = |effect| match effect {
            Effect::Upsert(row) => {
                let identity = row.identity.map_or_else(String::new, |identity| format!("={identity}"));
                format!("{}{identity}:{}", row.id, row.state)
            }
            Effect::Remove(id) => format!("remove-{id}"),
            Effect::Request(labels) => format!("request-{}", app(&labels)),
            Effect::Release(labels) => format!("release-{}", app(&labels)),
            Effect::Created(id) => format!("created-{id}"),
            Effect::Failed(id, _) => format!("failed-{id}"),
        };
        std::iter::from_fn(|| self.core.poll_effect()).map(show).collect::<Vec<_>>().join(" ")
    }
}

const ID: Grant = Grant::Identity(NumericIdentity::new(1000));

#[test]
fn create_waits_for_identity_then_for_the_datapath() {
    let mut bench = Bench::new();
    bench.pod("cart", "cart");
    let id = bench.create("cart", "10.0.0.2").unwrap();
    assert_eq!(bench.effects(), "1:waiting-for-identity request-cart");
    bench.grant("cart", ID);
    assert_eq!(bench.effects(), "1=1000:regenerating");
    bench.core.handle_realized(id, NumericIdentity::new(7));
    assert_eq!(bench.effects(), "", "another identity is not what was asked for");
    bench.core.handle_realized(id, NumericIdentity::new(1000));
    assert_eq!(bench.effects(), "1=1000:ready created-1");
    assert_eq!(bench.core.poll_timeout(), None);
}

#[test]
fn without_a_pod_object_the_endpoint_becomes_init_and_labels_may_come_later() {
    let mut bench = Bench::new();
    let id = bench.create("cart", "10.0.0.2").unwrap();
    assert_eq!(bench.effects(), "1:waiting-for-identity");
    bench.pass(4);
    assert_eq!(bench.effects(), "");
    bench.pass(1);
    assert_eq!(bench.effects(), "1=5:regenerating");
    bench.core.handle_realized(id, NumericIdentity::INIT);
    assert_eq!(bench.effects(), "1=5:ready created-1");
    bench.pod("cart", "cart");
    bench.grant("cart", ID);
    assert_eq!(bench.effects(), "request-cart 1=1000:regenerating");
}

#[test]
fn no_identity_in_time_fails_and_leaves_nothing_behind() {
    let mut bench = Bench::new();
    bench.pod("cart", "cart");
    bench.create("cart", "10.0.0.2").unwrap();
    bench.effects();
    bench.grant("cart", Grant::Failed("kvstore is down".into()));
    bench.pass(5);
    assert_eq!(bench.effects(), "failed-1 remove-1 release-cart");
    bench.create("cart", "10.0.0.2").unwrap();
    bench.grant("cart", ID);
    assert!(bench.effects().ends_with("2=1000:regenerating"));
    bench.pass(10);
    assert_eq!(bench.effects(), "failed-2 remove-2 release-cart");
}

#[test]
fn a_held_label_set_is_granted_at_once_with_the_store_down() {
    let mut bench = Bench::new();
    bench.pod("one", "cart");
    bench.pod("two", "cart");
    bench.create("one", "10.0.0.2").unwrap();
    bench.grant("cart", ID);
    bench.effects();
    bench.create("two", "10.0.0.3").unwrap();
    assert_eq!(bench.effects(), "2:waiting-for-identity 2=1000:regenerating");
    bench.core.handle_delete(EndpointId(1));
    assert_eq!(bench.effects(), "failed-1 remove-1", "the second endpoint still uses the labels");
}

#[test]
fn relabelled_endpoint_keeps_its_identity_until_the_next_is_granted() {
    let mut bench = Bench::new();
    bench.pod("cart", "cart");
    let id = bench.create("cart", "10.0.0.2").unwrap();
    bench.grant("cart", ID);
    bench.core.handle_realized(id, NumericIdentity::new(1000));
    bench.effects();
    bench.pod("cart", "batch");
    assert_eq!(bench.effects(), "request-batch release-cart");
    bench.grant("batch", Grant::Identity(NumericIdentity::new(1001)));
    assert_eq!(bench.effects(), "1=1001:regenerating");
}

#[test]
fn second_create_of_a_sandbox_replaces_and_a_used_address_is_refused() {
    let mut bench = Bench::new();
    bench.create("cart", "10.0.0.2").unwrap();
    bench.create("cart", "10.0.0.2").unwrap();
    assert!(bench.effects().contains("failed-1 remove-1"));
    let refused = bench.create("web", "10.0.0.2").unwrap_err();
    assert_eq!(refused.to_string(), "address 10.0.0.2 is in use by endpoint 2");
}

#[test]
fn restored_endpoint_keeps_its_number_identity_and_request() {
    let mut bench = Bench::new();
    bench.pod("cart", "cart");
    let id = bench.create("cart", "10.0.0.2").unwrap();
    bench.grant("cart", ID);
    bench.core.handle_realized(id, NumericIdentity::new(1000));
    let row = bench.core.entries[&id].row.clone();
    let mut again = Bench::new();
    again.core.handle_restore(row);
    assert_eq!(again.effects(), "request-cart 1=1000:restoring");
    again.core.handle_realized(id, NumericIdentity::new(1000));
    assert_eq!(again.effects(), "1=1000:ready");
    assert_eq!(again.create("web", "10.0.0.3").unwrap(), EndpointId(2));
}

/// A fixed identity needs no store: nobody allocates it, and nobody else can have its number.
#[test]
fn a_pod_that_names_a_fixed_identity_gets_it_without_asking() {
    let mut bench = Bench::new();
    let labels = [("io.cilium.fixed-identity".to_owned(), "cart".to_owned())].into();
    let pod = |labels| Pod {
        namespace: "shop".into(),
        name: "a".into(),
        labels,
        service_account: "default".into(),
        named_ports: Vec::new(),
        pools: Default::default(),
    };
    bench.pods.upsert(pod(labels));
    let id = bench.create("a", "10.0.0.9").unwrap();
    bench.effects();
    assert!(bench.core.requests.is_empty(), "nothing is allocated");
    let row = bench.core.entries[&id].row.clone();
    assert_eq!((row.identity, row.labels.to_string().as_str()), (Some(NumericIdentity::new(130)), "reserved:cart"));
    bench.core.handle_realized(id, NumericIdentity::new(130));
    assert!(bench.effects().contains("created"), "the create ends");
    // The label goes: from now on it is a pod like others, and the old identity holds until there is another.
    bench.pod("a", "cart");
    assert_eq!(bench.core.requests.len(), 1);
    assert_eq!(bench.core.entries[&id].row.identity, Some(NumericIdentity::new(130)));
    bench.grant("cart", Grant::Identity(NumericIdentity::new(65_600)));
    assert_eq!(bench.core.entries[&id].row.identity, Some(NumericIdentity::new(65_600)));
    // After a restart a fixed number is not asked for either.
    let mut again = Bench::new();
    again.core.handle_restore(row);
    assert!(again.core.requests.is_empty());
}
