//! The reconciler against the fake kernel and, as root, against the real one: the same cases.

use crate::{
    cluster::Intent,
    fixture::{endpoint, on_node},
    services,
};
use datapath::{
    MapId, Reconciler, conntrack, dump,
    kernel::{Kernel, fake::Fake},
    plan::{difference, service::Services},
};
use ebpf_abi::{CtEntry, CtKey, Plain};
use model::{Direction, PortProto, Protocol};
use proptest::prelude::*;
use std::{collections::BTreeMap, net::SocketAddr};
use tables::{Endpoint, EndpointState};

const WEB: PortProto = PortProto::new(80, Protocol::Tcp);

/// Runs a case on the fake, then on a node.
fn check(name: &str, case: fn(CaseKernel)) {
    case(CaseKernel::Fake(Fake::default()));
    on_node(name, |node| {
        // The fixture's own rows are none of the case's.
        for map in [MapId::Ipcache4, MapId::Ipcache6, MapId::Ifaces, MapId::Endpoints4, MapId::Endpoints6] {
            let keys: Vec<Vec<u8>> = node.kernel.dump(map).unwrap().into_iter().map(|(key, _)| key).collect();
            node.kernel.delete(map, &keys).unwrap();
        }
        for set in node.kernel.sets().unwrap() {
            node.kernel.drop_set(set).unwrap();
        }
        let index = node.client.host_ifindex;
        case(CaseKernel::Real(Box::new(node.datapath.kernel()), index));
    });
}

/// Either kernel.
enum CaseKernel {
    Fake(Fake),
    Real(Box<datapath::kernel::Pinned>, u32),
}

macro_rules! forward {
    ($self:ident, $kernel:ident => $call:expr) => {
        match $self {
            CaseKernel::Fake($kernel) => $call,
            CaseKernel::Real($kernel, _) => $call,
        }
    };
}

impl Kernel for CaseKernel {
    fn policy_max(&self) -> u32 {
        256
    }

    fn update(&mut self, map: MapId, rows: &[datapath::kernel::Pair]) -> datapath::kernel::Result<()> {
        forward!(self, kernel => kernel.update(map, rows))
    }
    fn delete(&mut self, map: MapId, keys: &[Vec<u8>]) -> datapath::kernel::Result<()> {
        forward!(self, kernel => kernel.delete(map, keys))
    }
    fn lookup(&mut self, map: MapId, key: &[u8]) -> datapath::kernel::Result<Option<Vec<u8>>> {
        forward!(self, kernel => kernel.lookup(map, key))
    }
    fn dump(&mut self, map: MapId) -> datapath::kernel::Result<Vec<datapath::kernel::Pair>> {
        forward!(self, kernel => kernel.dump(map))
    }
    fn create_set(&mut self, set: u32) -> datapath::kernel::Result<()> {
        forward!(self, kernel => kernel.create_set(set))
    }
    fn drop_set(&mut self, set: u32) -> datapath::kernel::Result<()> {
        forward!(self, kernel => kernel.drop_set(set))
    }
    fn sets(&mut self) -> datapath::kernel::Result<Vec<u32>> {
        forward!(self, kernel => kernel.sets())
    }
    fn attach(&mut self, interface: &str, ifindex: u32) -> datapath::kernel::Result<()> {
        match self {
            Self::Fake(kernel) => kernel.attach(interface, ifindex),
            Self::Real(kernel, index) => kernel.attach(interface, *index),
        }
    }
    fn detach(&mut self, interface: &str) -> datapath::kernel::Result<()> {
        forward!(self, kernel => kernel.detach(interface))
    }
    fn attached(&mut self) -> datapath::kernel::Result<Vec<String>> {
        forward!(self, kernel => kernel.attached())
    }
}

fn pod(id: u16, identity: u32) -> Endpoint {
    endpoint(id, identity, &format!("lxc{id}"), 1000 + u32::from(id), [2; 6], [4; 6], [10, 1, 0, id as u8])
}

/// An endpoint with what it needs to run.
fn add_pod(intent: &Intent, row: &Endpoint) {
    intent.endpoints.upsert(row.clone());
    for ip in row.ips() {
        intent.announce(ip.into(), row.identity.unwrap().get(), None);
    }
    intent.policy_is_current();
}

#[test]
fn an_endpoint_runs_once_policy_and_addresses_are_there_and_leaves_nothing() {
    check("run", |kernel| {
        let intent = Intent::new();
        let mut reconciler = Reconciler::new(kernel, &intent.tables, intent.realized.clone());
        let row = pod(7, 1001);
        let realized = intent.realized.reader();
        let running = |reconciler: &mut Reconciler<CaseKernel>| dump::endpoints(reconciler.kernel()).unwrap();
        intent.endpoints.upsert(row.clone());
        reconciler.round().unwrap();
        assert_eq!((running(&mut reconciler).len(), realized.snapshot().len()), (0, 0), "policy has not seen it");
        intent.policy_is_current();
        reconciler.round().unwrap();
        assert_eq!(realized.snapshot().len(), 0, "its addresses are not announced");
        for ip in row.ips() {
            intent.announce(ip.into(), 1001, None);
        }
        reconciler.round().unwrap();
        assert_eq!(realized.snapshot().len(), 1);
        let rows = running(&mut reconciler);
        assert_eq!(rows.iter().map(|row| (row.id, row.identity)).collect::<Vec<_>>(), [(7, 1001), (7, 1001)]);
        assert_eq!(reconciler.kernel().attached().unwrap(), ["lxc7"]);
        assert_eq!(reconciler.kernel().sets().unwrap(), [1001]);
        // A new identity: the old one serves until the new one's policy is there.
        let relabelled = Endpoint { identity: Some(model::NumericIdentity::new(1002)), ..row.clone() };
        intent.endpoints.upsert(relabelled.clone());
        reconciler.round().unwrap();
        assert_eq!(running(&mut reconciler)[0].identity, 1001);
        for ip in row.ips() {
            intent.announce(ip.into(), 1002, None);
        }
        intent.policy_is_current();
        reconciler.round().unwrap();
        assert_eq!(running(&mut reconciler)[0].identity, 1002);
        assert_eq!(realized.snapshot().iter().next().unwrap().identity.get(), 1002);
        // Flows of its address go with it.
        let key = CtKey {
            daddr: 9u32,
            saddr: u32::from_ne_bytes([10, 1, 0, 7]),
            dport: 1,
            sport: 2,
            proto: 6,
            scope: 0,
            pad: 0,
        };
        let entry = CtEntry::default().as_bytes().to_vec();
        reconciler.kernel().update(MapId::Ct4, &[(key.as_bytes().to_vec(), entry)]).unwrap();
        intent.endpoints.upsert(Endpoint { state: EndpointState::Disconnecting, ..relabelled });
        reconciler.round().unwrap();
        assert_eq!(running(&mut reconciler), []);
        assert_eq!(reconciler.kernel().attached().unwrap(), Vec::<String>::new());
        assert_eq!(conntrack::flush(reconciler.kernel()).unwrap(), 0);
        assert_eq!(realized.snapshot().len(), 0);
    });
}

#[test]
fn policy_comes_before_the_address_and_leaves_after_it() {
    let intent = Intent::new();
    let mut reconciler = Reconciler::new(Fake::default(), &intent.tables, intent.realized.clone());
    add_pod(&intent, &pod(7, 1001));
    reconciler.round().unwrap();
    reconciler.kernel().take_journal();
    intent.allow(1001, Direction::Ingress, 2001, WEB);
    intent.announce("10.2.0.9".parse().unwrap(), 2001, None);
    reconciler.round().unwrap();
    assert_eq!(reconciler.kernel().take_journal(), ["update policy set 1001 1", "update ipcache4 1"]);
    intent.ipcache.delete(&"10.2.0.9".parse().unwrap());
    intent.revoke(1001, Direction::Ingress, 2001, WEB);
    intent.announce("10.2.0.10".parse().unwrap(), 2002, None);
    reconciler.round().unwrap();
    let journal = reconciler.kernel().take_journal();
    let place = |line: &str| journal.iter().position(|entry| entry == line).unwrap();
    assert!(place("delete ipcache4 1") < place("delete policy set 1001 1"), "{journal:?}");
}

#[test]
fn nothing_is_pruned_before_every_source_has_reported() {
    check("prune", |kernel| {
        let intent = Intent::new();
        let mut first = Reconciler::new(kernel, &intent.tables, intent.realized.clone());
        add_pod(&intent, &pod(7, 1001));
        intent.allow(1001, Direction::Ingress, 2001, WEB);
        intent.announce("10.2.0.0/24".parse().unwrap(), 2001, None);
        intent.announce("10.2.0.9".parse().unwrap(), 2001, None);
        first.round().unwrap();
        let kept = snapshot(first.kernel());
        // The next process starts with empty tables whose sources are still at work.
        let next = Intent::new();
        let endpoints = next.endpoints.announce("restore");
        let (ipcache, policy) = (next.ipcache.announce("kvstore"), next.policy.announce("rules"));
        let mut second = Reconciler::new(reuse(first), &next.tables, next.realized.clone());
        second.round().unwrap();
        assert_eq!(snapshot(second.kernel()), kept, "nothing is lost while nobody has reported");
        next.announce("10.2.0.9".parse().unwrap(), 2002, None);
        ipcache.done();
        second.round().unwrap();
        let rows = dump::ipcache(second.kernel()).unwrap();
        assert_eq!(
            rows.iter().map(|row| (row.prefix.to_string(), row.identity)).collect::<Vec<_>>(),
            [("10.2.0.9".to_owned(), 2002)]
        );
        assert_eq!(dump::policy(second.kernel(), None).unwrap().len(), 1, "policy still waits");
        policy.done();
        endpoints.done();
        second.round().unwrap();
        assert!(second.status().pruned);
        assert_eq!(dump::policy(second.kernel(), None).unwrap(), []);
        assert_eq!(second.kernel().sets().unwrap(), Vec::<u32>::new());
        assert_eq!(dump::endpoints(second.kernel()).unwrap(), []);
        assert_eq!(second.kernel().attached().unwrap(), Vec::<String>::new());
    });
}

/// Half a million rows were read back and compared when the last store had listed everything.
#[test]
fn a_complete_table_costs_the_rows_that_nobody_named_and_no_comparison() {
    let intent = Intent::new();
    let mut first = Reconciler::new(Fake::default(), &intent.tables, intent.realized.clone());
    for ip in ["10.2.0.1", "10.2.0.2", "10.2.0.0/24", "fd00::1"] {
        intent.announce(ip.parse().unwrap(), 2001, None);
    }
    first.round().unwrap();
    let next = Intent::new();
    let ipcache = next.ipcache.announce("kvstore");
    let mut second = Reconciler::new(first.into_kernel(), &next.tables, next.realized.clone());
    second.round().unwrap();
    next.announce("10.2.0.1".parse().unwrap(), 2001, None);
    next.announce("10.2.0.2".parse().unwrap(), 2001, None);
    second.round().unwrap();
    next.ipcache.delete(&"10.2.0.2".parse().unwrap());
    second.round().unwrap();
    // Another hand, which only a comparison would see.
    let (map, key) = datapath::plan::ipcache::locate("10.9.9.9".parse().unwrap());
    second.kernel().update(map, &[(key, vec![0; 12])]).unwrap();
    second.kernel().take_journal();
    ipcache.done();
    second.round().unwrap();
    assert!(second.status().pruned);
    assert_eq!(second.kernel().take_journal(), ["delete ipcache6 1", "delete ipcache_lpm4 1"]);
    let prefixes = |reconciler: &mut Reconciler<Fake>| {
        let rows = dump::ipcache(reconciler.kernel()).unwrap();
        rows.iter().map(|row| row.prefix.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(prefixes(&mut second), ["10.2.0.1", "10.9.9.9"]);
    second.compare_next();
    second.round().unwrap();
    assert_eq!(prefixes(&mut second), ["10.2.0.1"]);
}

fn reuse(reconciler: Reconciler<CaseKernel>) -> CaseKernel {
    reconciler.into_kernel()
}

fn snapshot(kernel: &mut CaseKernel) -> Vec<String> {
    let mut lines: Vec<String> = dump::ipcache(kernel).unwrap().iter().map(|row| format!("{row:?}")).collect();
    lines.extend(dump::policy(kernel, None).unwrap().iter().map(|row| format!("{row:?}")));
    lines.extend(dump::endpoints(kernel).unwrap().iter().map(|row| format!("{row:?}")));
    lines.extend(kernel.attached().unwrap());
    lines
}

#[test]
fn a_policy_set_that_does_not_fit_locks_its_endpoints_until_it_fits() {
    let intent = Intent::new();
    let mut kernel = Fake::default();
    kernel.limit(MapId::PolicySet(1001), 3);
    let mut reconciler = Reconciler::new(kernel, &intent.tables, intent.realized.clone());
    add_pod(&intent, &pod(7, 1001));
    reconciler.round().unwrap();
    let locked = |reconciler: &mut Reconciler<Fake>| {
        dump::endpoints(reconciler.kernel()).unwrap().iter().all(|row| row.locked_down)
    };
    for remote in 1..=5 {
        intent.allow(1001, Direction::Ingress, 3000 + remote, WEB);
        reconciler.round().unwrap();
        assert_eq!(locked(&mut reconciler), remote > 3, "{remote} rows");
    }
    let overflowed = &reconciler.status().overflowed;
    assert_eq!(overflowed.iter().map(|overflow| overflow.set).collect::<Vec<_>>(), [1001]);
    assert!(overflowed[0].needed > 0);
    for remote in 1..=2 {
        intent.revoke(1001, Direction::Ingress, 3000 + remote, WEB);
        reconciler.round().unwrap();
        reconciler.round().unwrap();
        assert_eq!(locked(&mut reconciler), remote < 2, "{} rows", 5 - remote);
    }
    let rows = dump::policy(reconciler.kernel(), Some(1001)).unwrap();
    assert_eq!(rows.iter().map(|row| row.identity).collect::<Vec<_>>(), [3003, 3004, 3005]);
}

#[test]
fn after_a_failure_everything_is_compared() {
    let intent = Intent::new();
    let mut reconciler = Reconciler::new(Fake::default(), &intent.tables, intent.realized.clone());
    reconciler.round().unwrap();
    intent.announce("10.2.0.1".parse().unwrap(), 2001, None);
    reconciler.round().unwrap();
    reconciler.kernel().fail(Some(MapId::Ipcache4));
    intent.ipcache.delete(&"10.2.0.1".parse().unwrap());
    intent.announce("10.2.0.2".parse().unwrap(), 2001, None);
    assert!(reconciler.round().is_err());
    assert!(reconciler.status().error.is_some());
    reconciler.kernel().fail(None);
    reconciler.round().unwrap();
    let rows = dump::ipcache(reconciler.kernel()).unwrap();
    assert_eq!(rows.iter().map(|row| row.prefix.to_string()).collect::<Vec<_>>(), ["10.2.0.2"]);
    // Somebody else's hand is found out on the timer.
    let (map, key) = datapath::plan::ipcache::locate("10.2.0.2".parse().unwrap());
    reconciler.kernel().delete(map, &[key]).unwrap();
    reconciler.compare_next();
    reconciler.round().unwrap();
    assert_eq!(dump::ipcache(reconciler.kernel()).unwrap().len(), 1);
}

#[test]
fn services_keep_their_numbers_across_processes() {
    check("service numbers", |kernel| {
        let front: SocketAddr = "172.30.0.1:80".parse().unwrap();
        let other: SocketAddr = "172.30.0.2:80".parse().unwrap();
        let backends: Vec<SocketAddr> = ["10.1.0.1:8080", "10.1.0.2:8080"].map(|text| text.parse().unwrap()).to_vec();
        let intent = Intent::new();
        let mut first = Reconciler::new(kernel, &intent.tables, intent.realized.clone());
        intent.frontends.upsert(services::frontend(other, &backends[..1], &[]));
        first.round().unwrap();
        intent.frontends.upsert(services::frontend(front, &backends, &[]));
        first.round().unwrap();
        let before = dump::services(first.kernel()).unwrap();
        assert_eq!(before.iter().map(|row| (row.number, row.backends.len())).collect::<Vec<_>>(), [(2, 2), (1, 1)]);
        let next = Intent::new();
        next.frontends.upsert(services::frontend(front, &backends, &[]));
        let mut second = Reconciler::new(reuse(first), &next.tables, next.realized.clone());
        second.round().unwrap();
        let after = dump::services(second.kernel()).unwrap();
        assert_eq!(after, before[..1]);
        next.frontends.delete(&services::frontend(front, &[], &[]).addr);
        second.round().unwrap();
        for map in datapath::plan::service::MAPS {
            assert_eq!(second.kernel().dump(map).unwrap(), Vec::new(), "{map}");
        }
    });
}

proptest! {
    /// Whatever happens to services in whatever order, the maps hold what the last state of each asks
    /// for, and no step on the way names a backend that is not in the map.
    #[test]
    fn services_are_never_ahead_of_their_backends(steps in proptest::collection::vec((0u8..3, 0usize..5, 0usize..5), 1..40)) {
        let mut services = Services::default();
        let mut kernel = Fake::default();
        let backend = |i: usize| SocketAddr::from(([10, 1, 0, i as u8], 8080));
        for (which, from, count) in steps {
            let front = SocketAddr::from(([172, 30, 0, which], 80));
            let all: Vec<SocketAddr> = (from..from + count).map(backend).collect();
            let ops = if count == 0 && from == 0 {
                services.remove(services::frontend(front, &[], &[]).addr)
            } else {
                services.upsert(&services::frontend(front, &all, &[backend(9)])).unwrap()
            };
            for op in ops {
                datapath::plan::apply(&mut kernel, vec![op]).unwrap();
                for service in dump::services(&mut kernel).unwrap() {
                    prop_assert!(service.backends.iter().all(|(_, _, addr)| addr.is_some()), "{service:?}");
                }
            }
        }
        let dumps: BTreeMap<MapId, _> =
            datapath::plan::service::MAPS.into_iter().map(|map| (map, kernel.dump(map).unwrap())).collect();
        prop_assert_eq!(services.resync(dumps, true), Vec::new());
    }
}

#[test]
fn a_difference_is_what_it_takes() {
    let wanted = BTreeMap::from([(vec![1], vec![1]), (vec![2], vec![2])]);
    let difference =
        difference(MapId::Ipcache4, &wanted, vec![(vec![2], vec![9]), (vec![3], vec![3]), (vec![1], vec![1])]);
    let show = |ops: &[datapath::plan::Op]| format!("{ops:?}");
    assert!(show(&difference.updates).contains("key: [2]") && difference.updates.len() == 1);
    assert!(show(&difference.deletes).contains("key: [3]") && difference.deletes.len() == 1);
}
