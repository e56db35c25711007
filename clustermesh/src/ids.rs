//! Who has which cluster id, and what a remote cluster's configuration must say to be usable.

use std::collections::BTreeMap;

use model::{ClusterId, ClusterIdLayout, ClusterName, InvalidCluster};
use wire::cluster_config::ClusterConfig;

/// Our own cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its name.
    pub name: ClusterName,
    /// Its number.
    pub id: ClusterId,
    /// How many clusters its mesh can have.
    pub layout: ClusterIdLayout,
}

/// The ids in use.
#[derive(Debug)]
pub struct Ids {
    own: Own,
    taken: BTreeMap<ClusterId, ClusterName>,
}

/// Why a remote cluster cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// 0, or more than the mesh allows.
    #[error(transparent)]
    Id(#[from] InvalidCluster),
    /// The meshes number their identities differently.
    #[error("mismatched MaxConnectedClusters; local={local}, remote={remote}")]
    Layout {
        /// Ours.
        local: u32,
        /// Theirs.
        remote: u32,
    },
    /// It is ours.
    #[error("clusterID {0} is assigned to the local cluster")]
    Own(ClusterId),
    /// It is another remote cluster's.
    #[error("clusterID {id} is already used by {by}")]
    Taken {
        /// The id.
        id: ClusterId,
        /// The cluster that has it.
        by: ClusterName,
    },
}

// === impl Ids ===

impl Ids {
    /// Only our own is taken.
    pub fn new(own: Own) -> Self {
        Self { own, taken: BTreeMap::new() }
    }

    /// Checks a configuration and takes its id for the cluster, instead of the one that it had.
    ///
    /// # Errors
    ///
    /// [`Refused`]; the cluster then keeps the id that it had.
    pub fn reserve(&mut self, cluster: &ClusterName, config: &ClusterConfig) -> Result<(), Refused> {
        let id = config.id;
        self.own.layout.check(id)?;
        let (local, remote) = (self.own.layout.max_clusters(), config.max_connected_clusters);
        // As Cilium has it, a mesh of 255 does not look at what the other one says.
        if self.own.layout != ClusterIdLayout::Max255 && local != remote {
            return Err(Refused::Layout { local, remote });
        }
        if id == self.own.id {
            return Err(Refused::Own(id));
        }
        match self.taken.get(&id) {
            Some(by) if by != cluster => return Err(Refused::Taken { id, by: by.clone() }),
            _ => {}
        }
        self.release(cluster);
        self.taken.insert(id, cluster.clone());
        Ok(())
    }

    /// The cluster is gone.
    pub fn release(&mut self, cluster: &ClusterName) {
        self.taken.retain(|_, name| name != cluster);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_in_the_mesh() {
        fn check(layout: ClusterIdLayout, id: u32, max: u32, expect: &str) {
            let own = Own { name: "east".parse().unwrap(), id: ClusterId::try_new(1).unwrap(), layout };
            let mut ids = Ids::new(own);
            let config = |id| ClusterConfig {
                id: ClusterId::try_new(id).unwrap(),
                max_connected_clusters: max,
                ..ClusterConfig::default()
            };
            let north = ClusterConfig { max_connected_clusters: layout.max_clusters(), ..config(9) };
            ids.reserve(&"north".parse().unwrap(), &north).unwrap();
            let got = ids.reserve(&"west".parse().unwrap(), &config(id));
            assert_eq!(got.map_or_else(|error| error.to_string(), |()| "ok".to_owned()), expect);
        }
        let (small, large) = (ClusterIdLayout::Max255, ClusterIdLayout::Max511);
        check(small, 2, 255, "ok");
        check(small, 2, 511, "ok");
        check(small, 0, 255, "ClusterID 0 is reserved");
        check(small, 256, 255, "ClusterID 256 is not supported: at most 255, or 511 with --max-connected-clusters=511");
        check(small, 1, 255, "clusterID 1 is assigned to the local cluster");
        check(small, 9, 255, "clusterID 9 is already used by north");
        check(large, 2, 255, "mismatched MaxConnectedClusters; local=511, remote=255");
        check(large, 300, 511, "ok");
    }
}
