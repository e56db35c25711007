//! The allocator over a store that takes its time.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use identity_allocator::Inputs;
use kvstore::{Backend, Event, Leases, fake::Fake, follow};
use model::{ClusterName, Labels, NumericIdentity, Source};
use statedb::{Reader, Writer, table};
use tables::{Grant, Identity, IdentityGrant, IdentityRequest, Origin};
use wire::identity;

const SETS: usize = 128;
const NODES: u8 = 16;
const DELAY: Duration = Duration::from_millis(100);

/// What the agent's import does: our own watch shows the numbers.
async fn show(store: Arc<dyn Backend>, cluster: ClusterName, identities: Writer<Identity>) {
    let prefix = identity::id_prefix(wire::Source::State);
    let (mut follower, driver) = follow(store, prefix.clone());
    let events = async {
        while let Some(events) = follower.next().await {
            for event in events {
                let Event::Created(kv) = event else { continue };
                let key = std::str::from_utf8(&kv.key).unwrap();
                let (id, labels) = identity::decode(key, key.strip_prefix(&prefix).unwrap(), &kv.value).unwrap();
                let origin = Origin::new(Source::Kvstore, cluster.clone());
                identities.upsert(Identity { id, labels, origin, create_revision: kv.create_revision });
            }
        }
    };
    tokio::join!(driver, events);
}

fn labels(number: usize) -> Labels {
    wire::labels::decode("", format!("k8s:n={number};").as_bytes()).unwrap()
}

fn numbers(granted: &Reader<IdentityGrant>) -> Vec<NumericIdentity> {
    let number = |row: &IdentityGrant| match row.grant {
        Grant::Identity(number) => number,
        ref other => panic!("{}: {other:?}", row.labels),
    };
    granted.snapshot().iter().map(|row| number(row)).collect()
}

fn transactions(fake: &Fake) -> usize {
    fake.requests().iter().filter(|request| request.starts_with("transaction")).count()
}

/// What runs on a node, where it takes requests, and where it answers.
type Running = (Pin<Box<dyn Future<Output = ()>>>, (Writer<IdentityRequest>, Reader<IdentityGrant>));

fn node(store: &Arc<dyn Backend>, folder: &Path, number: u8) -> Running {
    let cluster: ClusterName = "east".parse().unwrap();
    let ((wanted, requests), (grants, granted)) = (table::<IdentityRequest>(), table());
    let (shown, identities) = table::<Identity>();
    let inputs = Inputs {
        requests,
        identities,
        grants,
        leases: Leases::new(Arc::clone(store), Duration::from_secs(900)),
        store: Arc::clone(store),
        cluster: cluster.clone(),
        range: 65_536..=131_071,
        node_ip: std::net::Ipv4Addr::new(192, 0, 2, number).into(),
        file: folder.join(format!("held-{number}")),
    };
    let watch = show(Arc::clone(store), cluster, shown);
    let running = async {
        tokio::join!(identity_allocator::run(inputs), watch);
    };
    (Box::pin(running), (wanted, granted))
}

#[tokio::test(start_paused = true)]
async fn many_label_sets_go_to_the_store_together() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().unwrap());
    let store: Arc<dyn Backend> = Arc::new(fake.clone());
    let (running, (wanted, granted)) = node(&store, folder.path(), 1);
    fake.set_delay(DELAY);
    for number in 0..SETS {
        wanted.upsert(IdentityRequest { labels: labels(number) });
    }
    let started = tokio::time::Instant::now();
    tokio::select! {
        () = running => unreachable!("it never ends"),
        _ = granted.wait_for(|granted| granted.len() == SETS) => {}
    }
    assert_eq!(BTreeSet::from_iter(numbers(&granted)).len(), SETS, "each has a number of its own");
    let took = started.elapsed();
    assert!(took < DELAY * 20, "{took:?}: one after the other they would have taken {:?}", DELAY * SETS as u32);
    let asked = transactions(&fake);
    assert!(asked <= SETS / 16, "{asked} transactions for {SETS} label sets");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_begin_with_the_same_labels_need_one_request_each() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().unwrap());
    let store: Arc<dyn Backend> = Arc::new(fake.clone());
    fake.set_delay(DELAY);
    let nodes: Vec<Running> = (1..=NODES).map(|number| node(&store, folder.path(), number)).collect();
    let (all, tables): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
    for (wanted, _) in &tables {
        wanted.upsert(IdentityRequest { labels: labels(0) });
    }
    let everybody = async {
        for (_, granted) in &tables {
            granted.wait_for(|granted| granted.len() == 1).await;
        }
    };
    tokio::select! {
        _ = futures_util::future::join_all(all) => unreachable!("they never end"),
        () = everybody => {}
    }
    let numbers: BTreeSet<NumericIdentity> = tables.iter().flat_map(|(_, granted)| numbers(granted)).collect();
    assert_eq!(numbers.len(), 1, "one label set has one number: {numbers:?}");
    assert_eq!(transactions(&fake), usize::from(NODES), "nobody had to ask twice");
}
