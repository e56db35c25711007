//! While somebody says that the data is damaged: what is refused, and that it ends. The same on etcd and on ours.

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client, Txn, TxnOp};

use crate::{
    peer::Etcd,
    server::{Store, get},
};

type Told = (&'static str, Result<(), (tonic::Code, String)>);

fn told<T>(name: &'static str, answer: Result<T, etcd_client::Error>) -> Told {
    let answer = answer.map(drop).map_err(|error| match error {
        etcd_client::Error::GRpcStatus(status) => (status.code(), status.message().to_owned()),
        other => panic!("{name}: {other}"),
    });
    (name, answer)
}

async fn each(client: &mut Client, lease: i64) -> Vec<Told> {
    let write = Txn::new().and_then([TxnOp::put("k", "v", None)]);
    let read = Txn::new().and_then([TxnOp::get("k", None)]);
    vec![
        told("put", client.put("k", "v", None).await),
        told("range", client.get("k", None).await),
        told("delete", client.delete("k", None).await),
        told("txn that writes", client.txn(write).await),
        told("txn that reads", client.txn(read).await),
        told("compact", client.compact(1, None).await),
        told("lease grant", client.lease_grant(60, None).await),
        told("lease list", client.leases().await),
        told("lease revoke", client.lease_revoke(lease).await),
        told("member list", client.member_list().await),
        told("status", client.status().await),
        told("hash", client.hash_kv(0).await),
    ]
}

struct Seen {
    before: Vec<Told>,
    while_corrupt: Vec<Told>,
    health: String,
    after: Vec<Told>,
}

async fn look(mut client: Client, address: &str) -> Seen {
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let second = client.lease_grant(60, None).await.unwrap().id();
    let third = client.lease_grant(60, None).await.unwrap().id();
    client.put("k", "v", None).await.unwrap();
    let before = each(&mut client, lease).await;
    let member = client.status().await.unwrap().header().unwrap().member_id();
    let of = || {
        let mut options = AlarmOptions::new();
        options.with_member(member);
        Some(options)
    };
    client.alarm(AlarmAction::Activate, AlarmType::Corrupt, of()).await.unwrap();
    let while_corrupt = each(&mut client, second).await;
    let health = get(address, "/health").await;
    let listed = client.alarm(AlarmAction::Get, AlarmType::None, None).await.unwrap();
    assert_eq!(listed.alarms().iter().map(etcd_client::AlarmMember::alarm).collect::<Vec<_>>(), [AlarmType::Corrupt]);
    client.alarm(AlarmAction::Deactivate, AlarmType::Corrupt, of()).await.unwrap();
    let after = each(&mut client, third).await;
    Seen { before, while_corrupt, health, after }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_takes_nothing_until_it_is_disarmed() {
    let store = Store::plain();
    let ours = look(store.client().await, store.plain_address()).await;
    let corrupt = Err((tonic::Code::DataLoss, "etcdserver: corrupt cluster".to_owned()));
    let put = ours.while_corrupt.iter().find(|(name, _)| *name == "put");
    assert_eq!(put.map(|(_, answer)| answer), Some(&corrupt));
    assert!(ours.health.contains("503") && ours.health.contains("ALARM CORRUPT"), "{}", ours.health);
    let Some(etcd) = Etcd::start("alarms").await else { return };
    let client = Client::connect([etcd.url.as_str()], None).await.unwrap();
    let theirs = look(client, etcd.url.strip_prefix("http://").unwrap()).await;
    assert_eq!(ours.before, theirs.before);
    assert_eq!(ours.while_corrupt, theirs.while_corrupt);
    assert!(theirs.health.contains("ALARM CORRUPT"), "{}", theirs.health);
    assert_eq!(ours.after, theirs.after);
}
