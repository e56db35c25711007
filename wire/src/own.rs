//! Keys of our own, outside Cilium's tree: never exported, never mirrored.

use model::{ClusterName, NodeName, NumericIdentity};

pub fn prefix(cluster: &ClusterName) -> String {
    format!("causeway/v1/{cluster}/")
}

/// The lock path of the operators' election.
pub fn leader_path(cluster: &ClusterName) -> String {
    format!("{}leader", prefix(cluster))
}

/// Numbers that the collector gave back, each leased for as long as somebody may still use it.
pub fn freed_prefix(cluster: &ClusterName) -> String {
    format!("{}identity/freed/", prefix(cluster))
}

pub fn freed_key(cluster: &ClusterName, number: NumericIdentity) -> String {
    format!("{}{number}", freed_prefix(cluster))
}

/// Which registration holds a node's name.
pub fn nodes_prefix(cluster: &ClusterName) -> String {
    format!("{}nodes/", prefix(cluster))
}

pub fn node_key(cluster: &ClusterName, node: &NodeName) -> String {
    format!("{}{node}", nodes_prefix(cluster))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_stand_outside_ciliums_tree() {
        let east: ClusterName = "east".parse().unwrap();
        assert_eq!(leader_path(&east), "causeway/v1/east/leader");
        assert_eq!(freed_key(&east, NumericIdentity::new(7)), "causeway/v1/east/identity/freed/7");
        assert_eq!(node_key(&east, &"n".parse().unwrap()), "causeway/v1/east/nodes/n");
    }
}
