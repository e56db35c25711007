//! The suite on real servers, and what happens when one goes away and comes back.

use std::{sync::Arc, time::Duration};

use kvstore::{Backend, Cause, Client, ClientOptions, Etcd, EtcdConfig, Event, Follower, Operation, Range, follow};

use crate::{
    server::{Kind, Server, available, kinds},
    suite::{self, Passing, Store},
};

#[tokio::test]
async fn every_server_passes_the_suite() {
    for kind in kinds("every_server_passes_the_suite") {
        let server = Server::start(kind).await;
        let pass = Box::new(|time| -> Passing { Box::pin(tokio::time::sleep(time)) });
        suite::run(&Store { backend: server.client().await, pass }).await;
    }
}

async fn until(follower: &mut Follower, end: impl Fn(&Event) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        for event in tokio::time::timeout(Duration::from_secs(30), follower.next()).await.unwrap().unwrap() {
            lines.push(match &event {
                Event::Created(kv) => format!("+{}", String::from_utf8_lossy(&kv.key)),
                Event::Modified(kv) => format!("~{}", String::from_utf8_lossy(&kv.key)),
                Event::Deleted { key, .. } => format!("-{}", String::from_utf8_lossy(key)),
                other => format!("{other:?}"),
            });
            if end(&event) {
                return lines;
            }
        }
    }
}

/// Limits requests in time, as every user of a store does: a killed server answers nothing.
async fn client(server: &Server) -> Arc<dyn Backend> {
    let options = ClientOptions { qps: 0, request_timeout: Duration::from_secs(1), ..ClientOptions::default() };
    Client::new(server.client().await, options)
}

#[tokio::test]
async fn a_follower_survives_a_restart_without_telling_anything_twice() {
    for kind in kinds("a_follower_survives_a_restart_without_telling_anything_twice") {
        a_follower_survives_a_restart_without_telling_anything_twice_on(kind).await;
    }
}

async fn a_follower_survives_a_restart_without_telling_anything_twice_on(kind: Kind) {
    let mut server = Server::start(kind).await;
    let store = client(&server).await;
    store.put("p/a".into(), "1".into(), None).await.unwrap();
    let (mut follower, driver) = follow(store.clone(), "p/");
    let story = async {
        assert_eq!(until(&mut follower, |e| *e == Event::ListDone).await, ["+p/a", "ListDone"]);
        server.kill();
        let down = store.put("p/b".into(), "1".into(), None).await.unwrap_err();
        assert!(down.is_retryable() && down.operation == Operation::Put, "{down:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.run().await;
        store.put("p/b".into(), "1".into(), None).await.unwrap();
        let lines = until(&mut follower, |e| matches!(e, Event::Created(_) | Event::Deleted { .. })).await;
        assert_eq!(lines, ["+p/b"], "the watch went on where it ended");
    };
    tokio::select! {
        () = driver => panic!("the driver ended"),
        () = story => {}
    }
}

/// A wiped etcd with the same token comes back with the same cluster id; refilled past our revision,
/// nothing in its headers tells it from the old one.
#[tokio::test]
async fn a_wiped_store_deletes_nothing() {
    for kind in kinds("a_wiped_store_deletes_nothing") {
        a_wiped_store_deletes_nothing_on(kind).await;
    }
}

async fn a_wiped_store_deletes_nothing_on(kind: Kind) {
    let mut server = Server::start(kind).await;
    let store = client(&server).await;
    for key in ["p/a", "p/b"] {
        store.put(key.into(), "1".into(), None).await.unwrap();
    }
    let before = store.range(Range::prefix("p/")).await.unwrap().header;
    let (mut follower, driver) = follow(store.clone(), "p/");
    let story = async {
        until(&mut follower, |e| *e == Event::ListDone).await;
        server.wipe();
        server.run().await;
        for n in 0..20 {
            store.put(format!("q/{n}").into(), "1".into(), None).await.unwrap();
        }
        store.put("p/b".into(), "1".into(), None).await.unwrap();
        let after = store.range(Range::prefix("p/")).await.unwrap().header;
        assert_eq!(before.cluster_id, after.cluster_id, "the id proves nothing");
        let mut lines = until(&mut follower, |e| matches!(e, Event::Relisted { .. })).await;
        if !lines.contains(&"~p/b".to_owned()) {
            lines.extend(until(&mut follower, |e| matches!(e, Event::Modified(_))).await);
        }
        assert!(lines.contains(&"StoreUnknown".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|l| l.starts_with('-')), "{lines:?}");
        follower.accept_absence().await;
        let lines = until(&mut follower, |e| matches!(e, Event::Deleted { .. })).await;
        assert_eq!(lines, ["-p/a"]);
    };
    tokio::select! {
        () = driver => panic!("the driver ended"),
        () = story => {}
    }
}

#[tokio::test]
async fn a_client_may_come_before_its_server() {
    for kind in kinds("a_client_may_come_before_its_server") {
        a_client_may_come_before_its_server_on(kind).await;
    }
}

async fn a_client_may_come_before_its_server_on(kind: Kind) {
    let mut server = Server::stopped(kind);
    let store = client(&server).await;
    let error = store.put("a".into(), "1".into(), None).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Timeout(_) | Cause::Unavailable(_)), "{error:?}");
    server.run().await;
    for _ in 0..20 {
        if store.put("a".into(), "1".into(), None).await.is_ok() {
            return;
        }
    }
    panic!("the client did not find its server");
}

#[tokio::test]
async fn a_pinned_client_refuses_another_cluster() {
    if !available("a_pinned_client_refuses_another_cluster") {
        return;
    }
    let (mut one, mut two) = (Server::start(Kind::Etcd).await, Server::start(Kind::Etcd).await);
    let config = EtcdConfig { endpoints: vec![one.endpoint(), two.endpoint()], ..EtcdConfig::default() };
    let store = Etcd::connect(&config, true).unwrap();
    let first = store.range(Range::key("a")).await.unwrap().header.cluster_id;
    let of_one = one.client().await.range(Range::key("a")).await.unwrap().header.cluster_id;
    if first == of_one {
        one.kill()
    } else {
        two.kill()
    }
    let refused = async {
        loop {
            match store.range(Range::key("a")).await {
                Ok(answer) => assert_eq!(answer.header.cluster_id, first, "the other cluster's answer"),
                Err(error) if matches!(error.cause, Cause::ClusterChanged { .. }) => return,
                Err(error) => assert!(matches!(error.cause, Cause::Unavailable(_)), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refused).await.expect("the other server is asked");
}
