//! What a large cluster in etcd mode has: nodes, identities and addresses in their real shape.

use anyhow::Result;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use kvstore::{Backend, Client, Op, Txn};

#[path = "../../../reflector/benches/list/entries.rs"]
mod entries;

/// How much of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) ips: u64,
    pub(crate) nodes: u64,
    pub(crate) identities: u64,
}

/// The cluster that the entries are of.
pub(crate) const CLUSTER: (&str, u32) = ("west", 2);
/// The identity of addresses that are put to be timed: whoever reads them notes when.
pub(crate) const TIMED: u32 = (2 << 16) + 60_000;
/// etcd's limit of operations in a transaction.
const BATCH: usize = 128;
const TRIES: u32 = 5;
/// Transactions that are out at one time.
const AT_ONCE: usize = 8;

/// Writes it all.
pub(crate) async fn fill(client: &Client, size: Size) -> Result<()> {
    let ips = entries::keys(size.ips).into_iter().zip(0..).map(|(key, at)| {
        let value = entries::key_value(&key, at).value;
        (Bytes::from(key), value)
    });
    let ids = (0..size.identities).map(|at| at as u32 + (CLUSTER.1 << 16)).chain([TIMED]);
    let pairs: Vec<(Bytes, Bytes)> = ips.chain((0..size.nodes).map(node)).chain(ids.map(identity)).collect();
    let batches = pairs.chunks(BATCH).map(|batch| {
        let then = batch.iter().map(|(key, value)| Op::Put { key: key.clone(), value: value.clone(), lease: None });
        let txn = Txn { then: then.collect(), ..Txn::default() };
        async move {
            // A disk that others use may keep a store waiting for longer than the store waits.
            for _ in 0..TRIES {
                if client.txn(txn.clone()).await.is_ok() {
                    return Ok(());
                }
            }
            client.txn(txn).await.map(drop)
        }
    });
    Ok(stream::iter(batches).buffer_unordered(AT_ONCE).try_collect().await?)
}

fn node(at: u64) -> (Bytes, Bytes) {
    let [high, low] = (at as u16).to_be_bytes();
    let value = format!(
        r#"{{"Name":"node-{at}","Cluster":"west","IPAddresses":[{{"Type":"InternalIP","IP":"192.168.{high}.{low}"}},{{"Type":"CiliumInternalIP","IP":"10.{}.{}.1"}}],"IPv4AllocCIDR":{{"IP":"10.{}.{}.0","Mask":"////AA=="}},"IPv4SecondaryAllocCIDRs":null,"IPv6AllocCIDR":null,"IPv6SecondaryAllocCIDRs":null,"IPv4HealthIP":"","IPv6HealthIP":"","IPv4IngressIP":"","IPv6IngressIP":"","ClusterID":2,"Source":"local","EncryptionKey":0,"Labels":{{"beta.kubernetes.io/arch":"amd64","kubernetes.io/arch":"amd64","kubernetes.io/hostname":"node-{at}","kubernetes.io/os":"linux","topology.kubernetes.io/region":"r1","topology.kubernetes.io/zone":"z{}"}},"Annotations":null,"WireguardPubKey":"","BootID":"f12453c1-0000-4000-8000-{at:012}"}}"#,
        at / 256,
        at % 256,
        at / 256,
        at % 256,
        at % 3,
    );
    (format!("cilium/state/nodes/v1/west/node-{at}").into(), value.into())
}

fn identity(id: u32) -> (Bytes, Bytes) {
    let labels = format!(
        "k8s:app=app-{id};k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=team-{team};k8s:io.cilium.k8s.policy.cluster=west;k8s:io.cilium.k8s.policy.serviceaccount=default;k8s:io.kubernetes.pod.namespace=team-{team};",
        team = id % 300,
    );
    (format!("cilium/state/identities/v1/id/{id}").into(), labels.into())
}
