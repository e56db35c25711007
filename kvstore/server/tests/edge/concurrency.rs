//! The Lock and Election services, the same suite on etcd and on ours.

use std::{future::Future, time::Duration};

use etcd_client::{Client, GetOptions, LeaderKey, LockOptions, ProclaimOptions, ResignOptions};

use crate::{
    peer::Etcd,
    server::{SOON, Store},
};

/// Long enough to see that something does not happen.
const A_WHILE: Duration = Duration::from_millis(200);

/// A suite's own time-outs are shorter together.
const WHOLE: Duration = Duration::from_secs(60);

/// On ours, and on etcd where it is.
async fn on_both<F: Future<Output = ()>>(test: &str, suite: impl Fn(Client) -> F) {
    let store = Store::plain();
    tokio::time::timeout(WHOLE, suite(store.client().await)).await.expect("ours is done in time");
    if let Some(etcd) = Etcd::start(test).await {
        let client = Client::connect([etcd.url.as_str()], None).await.unwrap();
        tokio::time::timeout(WHOLE, suite(client)).await.expect("etcd is done in time");
    }
}

async fn lease(client: &mut Client) -> i64 {
    client.lease_grant(60, None).await.unwrap().id()
}

fn with(lease: i64) -> Option<LockOptions> {
    Some(LockOptions::new().with_lease(lease))
}

async fn keys(client: &mut Client, prefix: &str) -> Vec<String> {
    let found = client.get(prefix, Some(GetOptions::new().with_prefix())).await.unwrap();
    found.kvs().iter().map(|kv| kv.key_str().unwrap().to_owned()).collect()
}

/// Waits until there are so many keys.
async fn reaches(client: &mut Client, prefix: &str, count: usize) {
    let reached = tokio::time::timeout(SOON, async {
        while keys(client, prefix).await.len() != count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    if reached.await.is_err() {
        panic!("{:?} are not {count} keys", keys(client, prefix).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_held_by_one_and_passes_to_the_next_in_line() {
    on_both("a_lock", |mut client| async move {
        let (first, second) = (lease(&mut client).await, lease(&mut client).await);
        let held = client.lock("l", with(first)).await.unwrap();
        assert_eq!(held.key(), format!("l/{first:x}").as_bytes());
        // Who has it has it still.
        let again = client.lock("l", with(first)).await.unwrap();
        assert_eq!(again.key(), held.key());
        let mut other = client.clone();
        let waiting = tokio::spawn(async move { other.lock("l", with(second)).await.map(|got| got.key().to_vec()) });
        reaches(&mut client, "l/", 2).await;
        tokio::time::sleep(A_WHILE).await;
        assert!(!waiting.is_finished(), "two hold it");
        client.unlock(held.key()).await.unwrap();
        let got = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
        assert_eq!(got, format!("l/{second:x}").into_bytes());
        // A lease that ends lets go.
        client.lease_revoke(second).await.unwrap();
        reaches(&mut client, "l/", 0).await;
        // Who names no lease gets one of 60 s.
        let own = client.lock("own", None).await.unwrap();
        let text = String::from_utf8_lossy(own.key()).into_owned();
        let id = i64::from_str_radix(text.strip_prefix("own/").unwrap(), 16).unwrap();
        assert_eq!(client.lease_time_to_live(id, None).await.unwrap().granted_ttl(), 60);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_no_more_leaves_no_key() {
    on_both("who_waits_no_more", |mut client| async move {
        let (first, second, third) = (lease(&mut client).await, lease(&mut client).await, lease(&mut client).await);
        client.lock("l", with(first)).await.unwrap();
        client.campaign("e", "a", first).await.unwrap();
        let mut other = client.clone();
        let waiting = tokio::spawn(async move { other.lock("l", with(second)).await.map(drop) });
        let mut other = client.clone();
        let campaigning = tokio::spawn(async move { other.campaign("e", "b", second).await.map(drop) });
        reaches(&mut client, "l/", 2).await;
        reaches(&mut client, "e/", 2).await;
        waiting.abort();
        campaigning.abort();
        reaches(&mut client, "l/", 1).await;
        reaches(&mut client, "e/", 1).await;
        // A lease that ends while it waits is told so, once it would be its turn.
        let mut other = client.clone();
        let waiting = tokio::spawn(async move { other.lock("l", with(third)).await.map(drop) });
        reaches(&mut client, "l/", 2).await;
        client.lease_revoke(third).await.unwrap();
        client.lease_revoke(first).await.unwrap();
        let refused = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap().unwrap_err();
        assert_eq!(told(&refused), (tonic::Code::Unknown, "mutex: session is expired".to_owned()));
    })
    .await;
}

fn told(error: &etcd_client::Error) -> (tonic::Code, String) {
    match error {
        etcd_client::Error::GRpcStatus(status) => (status.code(), status.message().to_owned()),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_proclaims_and_resigns() {
    on_both("one_leads", |mut client| async move {
        let (first, second) = (lease(&mut client).await, lease(&mut client).await);
        let nobody = client.leader("e").await.map(drop).unwrap_err();
        assert_eq!(told(&nobody), (tonic::Code::Unknown, "election: no leader".to_owned()));
        let won = client.campaign("e", "one", first).await.unwrap();
        let leader = won.leader().unwrap().clone();
        assert_eq!((leader.name(), leader.lease()), (b"e".as_slice(), first));
        assert_eq!(leader.key(), format!("e/{first:x}").as_bytes());
        // etcd answers only when there is something to say.
        let mut observed = client.observe("e").await.unwrap();
        let mut said = Vec::new();
        let mut hear = async |count: usize, said: &mut Vec<String>| {
            while said.len() < count {
                let next = tokio::time::timeout(SOON, observed.message()).await.expect("something is said in time");
                let next = next.unwrap().expect("the stream goes on");
                said.push(next.kv().unwrap().value_str().unwrap().to_owned());
            }
        };
        hear(1, &mut said).await;
        let as_leader = |leader: &LeaderKey| Some(ProclaimOptions::new().with_leader(leader.clone()));
        client.proclaim("two", as_leader(&leader)).await.unwrap();
        hear(2, &mut said).await;
        // To campaign again is to proclaim.
        client.campaign("e", "three", first).await.unwrap();
        hear(3, &mut said).await;
        assert_eq!(client.leader("e").await.unwrap().kv().unwrap().value_str().unwrap(), "three");
        let mut other = client.clone();
        let next =
            tokio::spawn(async move { other.campaign("e", "four", second).await.map(|won| won.leader().cloned()) });
        reaches(&mut client, "e/", 2).await;
        client.resign(Some(ResignOptions::new().with_leader(leader.clone()))).await.unwrap();
        let next = tokio::time::timeout(SOON, next).await.unwrap().unwrap().unwrap().unwrap();
        assert_eq!(next.lease(), second);
        hear(4, &mut said).await;
        assert_eq!(said, ["one", "two", "three", "four"]);
        let late = client.proclaim("late", as_leader(&leader)).await.map(drop).unwrap_err();
        assert_eq!(told(&late), (tonic::Code::Unknown, "election: not leader".to_owned()));
        // To resign from what one does not lead is no mistake.
        client.resign(Some(ResignOptions::new().with_leader(leader))).await.unwrap();
        let unnamed = client.resign(None).await.map(drop).unwrap_err();
        assert_eq!(told(&unnamed), (tonic::Code::Unknown, "\"leader\" field must be provided".to_owned()));
        let missing = client.campaign("e", "x", 12_345).await.map(drop).unwrap_err();
        assert_eq!(told(&missing), (tonic::Code::Unknown, "etcdserver: requested lease not found".to_owned()));
    })
    .await;
}
