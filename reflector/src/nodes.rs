//! `nodes/v1/<cluster>/` to table `nodes`.

use std::sync::Arc;

use kvstore::KeyValue;
use model::{ClusterId, ClusterName, NodeName, Source};
use statedb::{Row, Writer};
use tables::NodeRow;

use crate::{Border, Decode, Decoded, Held, Import, Mark};

/// The nodes of one cluster.
pub struct NodeDecode {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its number: every node must have it.
    pub cluster_id: ClusterId,
    /// What rows are marked with.
    pub source: Source,
    /// The node whose row the agent writes itself.
    pub own: Option<NodeName>,
    /// For another cluster: what it may claim.
    pub border: Option<Arc<dyn Border>>,
}

// === impl Import ===

impl Import {
    /// Imports nodes. The source is announced at once; the future runs until it is dropped.
    pub fn nodes(
        self,
        cluster_id: ClusterId,
        own: Option<NodeName>,
        writer: Writer<NodeRow>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let prefix = wire::node::prefix(self.wire_source(), &self.cluster);
        let decode = NodeDecode {
            cluster: self.cluster.clone(),
            cluster_id,
            source: self.source,
            own,
            border: self.border.clone(),
        };
        self.run(decode, prefix, writer)
    }
}

// === impl NodeDecode ===

impl Decode for NodeDecode {
    type Row = NodeRow;
    const RESOURCE: &'static str = "nodes";
    const REFUSAL_WITHDRAWS: bool = false;
    const HELD: Held = Held::Each;

    fn decode(&self, key: &str, name: &str, kv: &KeyValue) -> Result<Decoded<NodeRow>, String> {
        let mut node = wire::node::decode(key, name, &kv.value).map_err(|error| error.to_string())?;
        if node.cluster != self.cluster {
            return Err(format!("{key}: Cluster: {} is not {}", node.cluster, self.cluster));
        }
        if node.cluster_id != self.cluster_id {
            return Err(format!(
                "{key}: ClusterID: {} is not that of {}: {}",
                node.cluster_id, self.cluster, self.cluster_id
            ));
        }
        if self.own.as_ref() == Some(&node.name) {
            return Ok(Decoded::Absent);
        }
        node.source = self.source;
        Ok(Decoded::Row(NodeRow { node: Arc::new(node) }))
    }

    fn admit(&self, row: NodeRow) -> Result<(NodeRow, Option<String>), String> {
        self.border.as_ref().map_or(Ok(()), |border| border.node(&row.node))?;
        Ok((row, None))
    }

    fn name(&self, row: &NodeRow) -> String {
        row.node.name.to_string()
    }

    fn row_key(&self, name: &str) -> Option<<NodeRow as Row>::Key> {
        let name = NodeName::try_new(name).ok().filter(|name| self.own.as_ref() != Some(name))?;
        Some((self.cluster.clone(), name))
    }

    fn owns(&self, row: &NodeRow) -> bool {
        row.node.cluster == self.cluster && row.node.source != Source::Local
    }

    fn is_restored(&self, row: &NodeRow) -> bool {
        row.node.source == Source::Restored
    }

    fn marks(before: Option<&NodeRow>, after: Option<&NodeRow>) -> Vec<Mark> {
        let row = after.or(before);
        let addresses = row.into_iter().flat_map(|row| &row.node.addresses);
        addresses.map(|address| Mark::Prefix(model::Prefix::host(address.ip))).collect()
    }

    fn cluster(&self) -> &ClusterName {
        &self.cluster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_must_be_of_its_cluster_and_our_own_is_left_alone() {
        let cluster: ClusterName = "east".parse().unwrap();
        let decode = NodeDecode {
            cluster: cluster.clone(),
            cluster_id: ClusterId::try_new(1).unwrap(),
            source: Source::Kvstore,
            own: Some("self".parse().unwrap()),
            border: None,
        };
        let check = |name: &str, value: &str, expect: &str| {
            let kv = crate::core::tests::kv(name, value, 1);
            let got = match decode.decode("k", name, &kv) {
                Ok(Decoded::Row(row)) => format!("{} {}", row.node.name, row.node.source),
                Ok(Decoded::Absent) => "absent".to_owned(),
                Err(error) => error,
            };
            assert_eq!(got, expect, "{value}");
        };
        check("a", r#"{"Name":"a","Cluster":"east","ClusterID":1,"Source":"local"}"#, "a kvstore");
        check("self", r#"{"Name":"self","Cluster":"east","ClusterID":1}"#, "absent");
        check("a", r#"{"Name":"a","Cluster":"west","ClusterID":1}"#, "k: Cluster: west is not east");
        check("a", r#"{"Name":"a","Cluster":"east"}"#, "k: ClusterID: 0 is not that of east: 1");
        assert_eq!(decode.row_key("self"), None);
    }
}
