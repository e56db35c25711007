//! Node keys that no lease ends: operators up to Cilium 1.17 wrote such, and nobody deletes them with the node.
//!
//! A node goes when two rounds found it unchanged and nothing of it alive: no address lies on it, and no identity is used
//! from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kvstore::{Backend, Compare, Error, Header, KeyValue, Op, Revision, Txn, list};
use model::{ClusterName, NodeAddress};
use wire::{Source, identity, ip, node};

/// Which nodes looked dead when we last looked, and in which store.
#[derive(Debug, Default)]
struct Marks {
    dead: BTreeMap<Bytes, Revision>,
    store: Header,
}

// === impl Marks ===

impl Marks {
    /// Those that were dead before too, and unchanged. A store that is another, or went back, has proven nothing yet.
    fn handle_round(&mut self, store: Header, dead: BTreeMap<Bytes, Revision>) -> Vec<(Bytes, Revision)> {
        let same = store.cluster_id == self.store.cluster_id && store.revision >= self.store.revision;
        let before = std::mem::replace(&mut self.dead, dead);
        self.store = store;
        let still = |(key, at): &(&Bytes, &Revision)| same && before.get(*key) == Some(*at);
        self.dead.iter().filter(still).map(|(key, at)| (key.clone(), *at)).collect()
    }
}

/// Looks that often, until the future is dropped.
pub(crate) async fn run(store: Arc<dyn Backend>, cluster: ClusterName, every: Duration) {
    if every.is_zero() {
        return std::future::pending().await;
    }
    let mut marks = Marks::default();
    loop {
        runtime::sleep(every).await;
        if let Err(error) = round(&*store, &cluster, &mut marks).await {
            tracing::warn!(error = error.full(), "dead nodes are not known: none is deleted");
        }
    }
}

async fn round(store: &dyn Backend, cluster: &ClusterName, marks: &mut Marks) -> Result<(), Error> {
    let prefix = node::prefix(Source::State, cluster);
    let nodes = list(store, prefix.clone(), 0).await?;
    let unleased: Vec<&KeyValue> = nodes.kvs.iter().filter(|kv| kv.lease.is_none()).collect();
    let mut dead = BTreeMap::new();
    // The addresses are many: they are read only where somebody is in question.
    if !unleased.is_empty() {
        let users = list(store, identity::value_prefix_all(), nodes.header.revision).await?;
        let addresses = list(store, ip::prefix(Source::State), nodes.header.revision).await?;
        dead = without_life(&prefix, &unleased, &alive(&users.kvs, &addresses.kvs));
    }
    for (key, at) in marks.handle_round(nodes.header, dead) {
        let delete = Txn::when([Compare::ModRevision(key.clone(), at)]).then([Op::delete(key.clone())]);
        if store.txn(delete).await?.succeeded {
            let key = String::from_utf8_lossy(&key).into_owned();
            tracing::info!(key, "a node that nothing is heard of, and that no lease ends, is deleted");
        }
    }
    Ok(())
}

/// Addresses of nodes whose agents live: their leases keep these keys.
fn alive(users: &[KeyValue], addresses: &[KeyValue]) -> BTreeSet<IpAddr> {
    let text = |kv: &KeyValue| String::from_utf8_lossy(&kv.key).into_owned();
    let users = users.iter().filter_map(|kv| identity::parse_value_key(&text(kv))?.1.parse().ok());
    let prefix = ip::prefix(Source::State);
    let hosts = addresses.iter().filter_map(|kv| {
        let key = text(kv);
        ip::decode(&key, key.strip_prefix(&prefix)?, &kv.value).ok()?.host_ip
    });
    users.chain(hosts).collect()
}

/// Nodes none of whose addresses lives. Of one that has none, or that cannot be read, nothing is proven.
fn without_life(prefix: &str, nodes: &[&KeyValue], alive: &BTreeSet<IpAddr>) -> BTreeMap<Bytes, Revision> {
    let dead = |kv: &&&KeyValue| {
        let key = String::from_utf8_lossy(&kv.key);
        let name = key.strip_prefix(prefix).unwrap_or_default();
        let node = node::decode(&key, name, &kv.value);
        let dead = |node: &[NodeAddress]| !node.is_empty() && !node.iter().any(|address| alive.contains(&address.ip));
        node.is_ok_and(|node| dead(&node.addresses))
    };
    nodes.iter().filter(dead).map(|kv| (kv.key.clone(), kv.mod_revision)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_unchanged_for_a_round_in_one_store_is_dead() {
        let at = |cluster_id, revision| Header { cluster_id, revision };
        let dead = |of: &[(&'static str, Revision)]| -> BTreeMap<Bytes, Revision> {
            of.iter().map(|(key, at)| (Bytes::from_static(key.as_bytes()), *at)).collect()
        };
        let mut marks = Marks::default();
        let mut round = |store, of: &[(&'static str, Revision)]| marks.handle_round(store, dead(of)).len();
        assert_eq!(round(at(7, 10), &[("a", 1), ("b", 2)]), 0);
        assert_eq!(round(at(7, 20), &[("a", 1), ("b", 15), ("c", 3)]), 1);
        assert_eq!(round(at(7, 29), &[]), 0);
        assert_eq!(round(at(7, 30), &[("b", 15)]), 0, "it lived in between");
        assert_eq!(round(at(7, 29), &[("b", 15)]), 0, "the store went back");
        assert_eq!(round(at(8, 40), &[("b", 15)]), 0, "another store");
        assert_eq!(round(at(8, 40), &[("b", 15)]), 1);
    }
}
