//! The etcd keys of this node: its own record, and an ip key for each address of its pods.

use std::sync::Arc;

use model::{EndpointId, IpEntry, IpNames, Node, NodeName, NumericIdentity, Prefix};
use statedb::{Change, Reader, Writer};
use tables::{Endpoint, EndpointState, Export};

/// The node's own key.
pub(crate) fn node_export(node: &Node) -> Export {
    let key = wire::node::key(&node.cluster, &node.name);
    Export { key: key.into(), value: wire::node::encode(node).into(), leased: true }
}

/// The keys of an endpoint; none while it has no identity that others may know.
pub(crate) fn endpoint_exports(row: &Endpoint, node: &NodeName, host_ip: std::net::IpAddr) -> Vec<Export> {
    let Some(identity) = row.identity.filter(|identity| !identity.is_reserved() || identity.is_user_reserved()) else {
        return Vec::new();
    };
    if row.state == EndpointState::Disconnecting {
        return Vec::new();
    }
    let export = |ip| {
        let mut entry = IpEntry::new(Prefix::host(ip), identity);
        entry.host_ip = Some(host_ip);
        let metadata = &wire::ip::endpoint_metadata(node, row.id);
        let (namespace, pod_name, service_account) = (&row.namespace, &row.pod_name, &row.service_account);
        entry.texts = IpNames { metadata, namespace, pod_name, service_account }.into();
        entry.named_ports = row.named_ports.clone().into();
        Export { key: wire::ip::key(entry.prefix).into(), value: wire::ip::encode(&entry).into(), leased: true }
    };
    row.ips().map(export).collect()
}

/// Keeps the exports of endpoints; runs until the future is dropped.
pub(crate) async fn run(
    endpoints: Reader<Endpoint>,
    exports: Writer<Export>,
    node: NodeName,
    host_ip: std::net::IpAddr,
) {
    let mut changes = endpoints.changes();
    let mut held: std::collections::BTreeMap<EndpointId, Vec<Arc<str>>> = Default::default();
    loop {
        for change in changes.drain() {
            let row = change.row();
            let now = match &change {
                Change::Upsert(row) => endpoint_exports(row, &node, host_ip),
                Change::Delete(_) => Vec::new(),
            };
            exports.write(|txn| {
                let keys: Vec<Arc<str>> = now.iter().map(|export| Arc::clone(&export.key)).collect();
                for key in held.remove(&row.id).unwrap_or_default() {
                    if !keys.contains(&key) {
                        txn.delete(&key);
                    }
                }
                for export in now {
                    txn.upsert(export);
                }
                if !keys.is_empty() {
                    held.insert(row.id, keys);
                }
            });
        }
        changes.wait().await;
    }
}

/// The reserved identities and those that users fixed, as rows: they are known without any store.
pub(crate) fn reserved_identities(
    cluster: &model::ClusterName,
    fixed: &model::FixedIdentities,
) -> impl Iterator<Item = tables::Identity> {
    let origin = tables::Origin::new(model::Source::Generated, cluster.clone());
    let reserved = model::ReservedIdentity::ALL.into_iter().map(|reserved| (reserved.number(), reserved.labels()));
    let known = reserved.filter(|(number, _)| *number != NumericIdentity::UNKNOWN).chain(fixed.iter());
    known.map(move |(id, labels)| tables::Identity { id, labels, origin: origin.clone(), create_revision: 0 })
}
