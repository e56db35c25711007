//! Counts what becomes of nodes, under Cilium's name for it.

use std::collections::BTreeSet;

use prometheus::{IntCounterVec, Opts, Registry};
use statedb::{Change, Reader, Row};
use tables::NodeRow;

/// Counts until the future is dropped; what is there already counts as added.
pub(crate) async fn count(nodes: Reader<NodeRow>, registry: Registry) {
    let opts = Opts::new("cilium_nodes_all_events_received_total", "Nodes that came, changed or went, by where from");
    let Ok(counter) = IntCounterVec::new(opts, &["event_type", "source"]) else { return };
    if let Err(error) = registry.register(Box::new(counter.clone())) {
        tracing::error!(%error, "events of nodes are not counted");
    }
    let mut changes = nodes.changes();
    let mut known = BTreeSet::new();
    loop {
        for change in changes.drain() {
            let (row, key) = (change.row(), change.row().key());
            let event = match change {
                Change::Upsert(_) if known.insert(key.clone()) => "add",
                Change::Upsert(_) => "update",
                Change::Delete(_) => {
                    known.remove(&key);
                    "delete"
                }
            };
            counter.with_label_values(&[event, row.node.source.as_str()]).inc();
        }
        changes.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use model::{ClusterId, Node, Source};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_comes_changes_and_goes() {
        let (writer, reader) = statedb::table();
        let registry = Registry::new();
        let story = async {
            let mut node = Node::new("n1".parse().unwrap(), "west".parse().unwrap(), ClusterId::NONE);
            node.source = Source::ClusterMesh;
            for label in ["", "changed"] {
                node.labels.insert("a".to_owned(), label.to_owned());
                writer.upsert(NodeRow { node: Arc::new(node.clone()) });
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            writer.delete(&NodeRow { node: Arc::new(node) }.key());
            tokio::time::sleep(Duration::from_secs(1)).await;
            let family = registry.gather().remove(0);
            let of = |name: &str| {
                let event = |m: &&prometheus::proto::Metric| m.get_label().iter().any(|label| label.value() == name);
                family.get_metric().iter().find(event).map(|metric| metric.get_counter().get_value())
            };
            [of("add"), of("update"), of("delete"), of("clustermesh")]
        };
        let counted = tokio::select! {
            () = count(reader, registry.clone()) => unreachable!("it never ends"),
            counted = story => counted,
        };
        assert_eq!(counted, [Some(1.0); 4]);
    }
}
