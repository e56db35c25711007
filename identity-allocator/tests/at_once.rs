//! The allocator over a store that takes its time.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::sync::Arc;
use std::time::Duration;

use identity_allocator::Inputs;
use kvstore::{Backend, Event, Leases, fake::Fake, follow};
use model::{ClusterName, NumericIdentity, Source};
use statedb::{Writer, table};
use tables::{Grant, Identity, IdentityRequest, Origin};
use wire::identity;

const SETS: usize = 128;
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

#[tokio::test(start_paused = true)]
async fn many_label_sets_wait_for_the_store_together() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().unwrap());
    let store: Arc<dyn Backend> = Arc::new(fake.clone());
    let cluster: ClusterName = "east".parse().unwrap();
    let ((wanted, requests), (grants, granted)) = (table::<IdentityRequest>(), table());
    let (shown, identities) = table::<Identity>();
    let inputs = Inputs {
        requests,
        identities,
        grants,
        leases: Leases::new(Arc::clone(&store), Duration::from_secs(900)),
        store: Arc::clone(&store),
        cluster: cluster.clone(),
        range: 65_536..=131_071,
        node_ip: "192.0.2.1".parse().unwrap(),
        file: folder.path().join("held"),
    };
    fake.set_delay(DELAY);
    for number in 0..SETS {
        let labels = wire::labels::decode("", format!("k8s:n={number};").as_bytes()).unwrap();
        wanted.upsert(IdentityRequest { labels });
    }
    let started = tokio::time::Instant::now();
    let everybody = async {
        let mut all = granted.changes();
        while granted.snapshot().len() < SETS {
            all.drain();
            all.wait().await;
        }
    };
    tokio::select! {
        () = identity_allocator::run(inputs) => unreachable!("it never ends"),
        () = show(store, cluster, shown) => unreachable!("it never ends"),
        () = everybody => {}
    }
    let numbers: std::collections::BTreeSet<NumericIdentity> = granted
        .snapshot()
        .iter()
        .map(|row| match row.grant {
            Grant::Identity(number) => number,
            ref other => panic!("{}: {other:?}", row.labels),
        })
        .collect();
    assert_eq!(numbers.len(), SETS, "each has a number of its own");
    let took = started.elapsed();
    assert!(took < DELAY * 20, "{took:?}: one after the other they would have taken {:?}", DELAY * SETS as u32);
}
