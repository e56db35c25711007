//! Whether this machine may be the node that it says it is: two that share a name or an address would overwrite each
//! other's keys for ever (design.md, decision 17).
//!
//! ```text
//!   our nodes were listed ──> who holds the name, who the addresses? ──nobody, or we──> claim, then publish the node
//!                                └── somebody whose lease lives ──> refused: an alarm, asked again until it ends
//! ```
//! A node that holds its registration and finds it in other hands stops: whoever took it over was told to.

mod claim;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use kvstore::{Backend, Compare, Error, Event, KeyValue, Leases, Op, Range, Txn, follow};
use model::{Node, Source};
use statedb::{Reader, Writer};
use tables::{Alarm, Export, NodeRow};
use wire::own::{self, Registration};

use claim::{Holder, judge};

/// Between two looks at a name that is not ours yet.
const RETRY: Duration = Duration::from_secs(5);

const ALARM: &str = "node/registration";

pub(crate) struct Inputs {
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) nodes: Reader<NodeRow>,
    pub(crate) exports: Writer<Export>,
    pub(crate) alarms: Writer<Alarm>,
    pub(crate) own: Node,
    /// Tells this machine's installation from all others.
    pub(crate) id: String,
    /// Whoever holds name or addresses: they are ours.
    pub(crate) take_over: bool,
}

/// The id of this installation; made at its first start.
pub(crate) fn id(lib_dir: &Path) -> Result<String> {
    let path: PathBuf = lib_dir.join("registration-id");
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        _ => {
            let id = format!("{:032x}", rand::random::<u128>());
            let failed = || format!("write {}", path.display());
            std::fs::create_dir_all(lib_dir).with_context(failed)?;
            std::fs::write(&path, &id).with_context(failed)?;
            Ok(id)
        }
    }
}

/// Registers the node, says so by `registered`, and keeps watch. Ends when another machine took the name over.
pub(crate) async fn run(inputs: Inputs, registered: tokio::sync::oneshot::Sender<()>) {
    let key = own::node_key(&inputs.own.cluster, &inputs.own.name);
    // Before, no holder of our addresses can be known.
    inputs.nodes.wait_for(|rows| !rows.pending().any(|source| source == tables::KVSTORE)).await;
    inputs.register(&key).await;
    let registration = inputs.registration();
    let value = own::encode_registration(&registration);
    // From now on it is kept as our other keys are.
    inputs.exports.upsert(Export { key: key.clone().into(), value: value.into(), leased: true });
    // Whoever waits for it is gone with the process.
    let _ = registered.send(());
    let (mut follower, driver) = follow(Arc::clone(&inputs.store), key.clone());
    let watch = async {
        while let Some(events) = follower.next().await {
            for event in events {
                let (Event::Created(kv) | Event::Modified(kv)) = event else { continue };
                let holder = own::decode_registration(&kv.value);
                if kv.key == key.as_bytes() && holder.as_ref().is_some_and(|holder| holder.id != registration.id) {
                    return holder;
                }
            }
        }
        None
    };
    let holder = tokio::select! {
        () = driver => None,
        holder = watch => holder,
    };
    if let Some(holder) = holder {
        let addresses = claim::text(&holder.addresses);
        tracing::error!(node = %inputs.own.name, boot_id = holder.boot_id, addresses, "another machine took our node name over");
    }
}

// === impl Inputs ===

impl Inputs {
    fn registration(&self) -> Registration {
        Registration {
            id: self.id.clone(),
            boot_id: self.own.boot_id.to_string(),
            addresses: claim::internal(&self.own).collect(),
        }
    }

    async fn register(&self, key: &str) {
        let mut said = String::new();
        loop {
            let refused = match self.try_once(key).await {
                Ok(None) => break,
                Ok(Some(refused)) => refused,
                Err(error) => {
                    tracing::debug!(error = error.full(), "the node is not registered yet");
                    runtime::sleep(RETRY).await;
                    continue;
                }
            };
            if said != refused {
                tracing::error!(node = %self.own.name, refused, "the node is not registered");
            }
            self.alarms.upsert(Alarm { name: ALARM.into(), message: refused.as_str().into() });
            said = refused;
            runtime::sleep(RETRY).await;
        }
        self.alarms.delete(&ALARM.into());
    }

    /// Claims the name; says why not, when it is somebody else's.
    async fn try_once(&self, key: &str) -> Result<Option<String>, Error> {
        let registered = self.store.range(Range::key(key.to_owned())).await?.kvs.pop();
        let mut holders = Vec::new();
        holders.extend(self.holder(&self.own.name, registered.as_ref()).await?);
        let addresses: Vec<IpAddr> = claim::internal(&self.own).collect();
        let twins: Vec<Arc<Node>> = {
            let rows = self.nodes.snapshot();
            let twin = |row: &&statedb::RowRef<NodeRow>| {
                row.node.cluster == self.own.cluster
                    && row.node.source == Source::Kvstore
                    && row.node.name != self.own.name
                    && claim::internal(&row.node).any(|ip| addresses.contains(&ip))
            };
            rows.iter().filter(twin).map(|row| Arc::clone(&row.node)).collect()
        };
        for twin in twins {
            let twin_key = own::node_key(&twin.cluster, &twin.name);
            let registered = self.store.range(Range::key(twin_key)).await?.kvs.pop();
            holders.extend(self.holder(&twin.name, registered.as_ref()).await?);
        }
        if let Some(refused) = judge(&self.own.name, &self.registration(), &holders, self.take_over) {
            return Ok(Some(refused));
        }
        let unchanged = match &registered {
            Some(kv) => Compare::ModRevision(kv.key.clone(), kv.mod_revision),
            None => Compare::Version(key.to_owned().into(), 0),
        };
        let lease = self.leases.lease_for(&key.to_owned().into()).await?;
        let put = Op::put(key.to_owned(), own::encode_registration(&self.registration()), Some(lease));
        let answer = self.store.txn(Txn::when([unchanged]).then([put])).await.inspect_err(|error| {
            if error.cause == kvstore::Cause::LeaseNotFound {
                self.leases.handle_lease_not_found(lease);
            }
        })?;
        Ok((!answer.succeeded).then(|| format!("node name {} is being claimed by another machine", self.own.name)))
    }

    /// Who holds a name: by its registration, else by the node's key alone, as stock nodes do.
    async fn holder(&self, name: &model::NodeName, registered: Option<&KeyValue>) -> Result<Option<Holder>, Error> {
        let node_key = wire::node::key(&self.own.cluster, name);
        let node = self.store.range(Range::key(node_key.clone())).await?.kvs.pop();
        let (registration, lease) = match (registered, &node) {
            (Some(kv), _) => (own::decode_registration(&kv.value).unwrap_or_default(), kv.lease),
            (None, Some(kv)) => {
                let node = wire::node::decode(&node_key, name.as_str(), &kv.value).ok();
                let addresses = node.iter().flat_map(claim::internal).collect();
                let boot_id = node.map(|node| node.boot_id.to_string()).unwrap_or_default();
                (Registration { id: String::new(), boot_id, addresses }, kv.lease)
            }
            (None, None) => return Ok(None),
        };
        let left = match lease {
            // Nobody keeps a key without a lease alive.
            None => None,
            Some(lease) => match self.store.lease_time_left(lease).await {
                Ok(left) => Some(left),
                Err(error) if error.cause == kvstore::Cause::LeaseNotFound => None,
                Err(error) => return Err(error),
            },
        };
        Ok(Some(Holder { name: name.clone(), registration, left }))
    }
}

#[cfg(test)]
mod tests {
    use kvstore::{KEY_LEASE_TTL, fake::Fake};
    use model::{AddressKind, ClusterId, NodeAddress};
    use tokio::sync::oneshot;

    use super::*;

    const KEY: &str = "causeway/v1/east/nodes/n1";

    fn node(ip: &str) -> Node {
        let mut node = Node::new("n1".parse().unwrap(), "east".parse().unwrap(), ClusterId::try_new(1).unwrap());
        node.addresses.push(NodeAddress { kind: AddressKind::InternalIp, ip: ip.parse().unwrap() });
        node
    }

    struct Bench {
        fake: Fake,
        alarms: Reader<Alarm>,
        exports: Reader<Export>,
    }

    fn start(fake: &Fake, ip: &str, id: &str) -> (Bench, impl Future<Output = ()>, oneshot::Receiver<()>) {
        let store: Arc<dyn Backend> = Arc::new(fake.clone());
        let ((_, nodes), (exports, told), (alarms, seen)) = (statedb::table(), statedb::table(), statedb::table());
        let leases = Leases::new(Arc::clone(&store), KEY_LEASE_TTL);
        let inputs =
            Inputs { store, leases, nodes, exports, alarms, own: node(ip), id: id.to_owned(), take_over: false };
        let (sender, registered) = oneshot::channel();
        (Bench { fake: fake.clone(), alarms: seen, exports: told }, run(inputs, sender), registered)
    }

    /// Two machines with one name wrote each other's node key for ever, and pods of both lost their routes in turns.
    #[tokio::test(start_paused = true)]
    async fn a_name_in_use_is_refused_until_its_holders_lease_ends_and_a_node_that_lost_its_name_stops() {
        let fake = Fake::new();
        let lease = fake.lease_grant(Duration::from_secs(900)).await.unwrap().id;
        let theirs = wire::node::encode(&node("192.0.2.9"));
        fake.put("cilium/state/nodes/v1/east/n1".into(), theirs.into(), Some(lease)).await.unwrap();
        let (bench, node, registered) = start(&fake, "192.0.2.1", "us");
        let story = async {
            bench.alarms.wait_for(|alarms| alarms.text().contains("held by 192.0.2.9 (boot id unknown)")).await;
            assert!(bench.exports.snapshot().is_empty(), "nothing is published");
            bench.fake.advance(Duration::from_secs(901));
            registered.await.unwrap();
            assert!(bench.alarms.snapshot().is_empty());
            let kv = bench.fake.range(Range::key(KEY)).await.unwrap().kvs.pop().unwrap();
            assert_eq!((&kv.value[..], kv.lease.is_some()), (&b"us - 192.0.2.1"[..], true));
            assert!(bench.exports.snapshot().get(&KEY.into()).is_some(), "kept from now on");
            // Our own writes do not frighten us.
            bench.fake.put(KEY.into(), "us b1 192.0.2.1".into(), None).await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            bench.fake.put(KEY.into(), "them b1 192.0.2.9".into(), None).await.unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = node => {}
            () = story => {}
            () = tokio::time::sleep(Duration::from_secs(3600)) => panic!("it goes on under a name that is not its own"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_moved_keeps_its_name() {
        let fake = Fake::new();
        let lease = fake.lease_grant(Duration::from_secs(900)).await.unwrap().id;
        fake.put(KEY.into(), "us b0 192.0.2.9".into(), Some(lease)).await.unwrap();
        let (_bench, node, registered) = start(&fake, "192.0.2.1", "us");
        tokio::select! {
            () = node => panic!("it ended"),
            done = tokio::time::timeout(Duration::from_secs(4), registered) => done.unwrap().unwrap(),
        }
    }

    #[test]
    fn an_installation_keeps_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let first = id(folder.path()).unwrap();
        assert_eq!(first.len(), 32);
        assert_eq!(id(folder.path()).unwrap(), first);
    }
}
