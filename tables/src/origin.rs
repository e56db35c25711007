//! Where an imported row came from.

use std::fmt;

use model::{ClusterName, Source};

/// The kind of source, and the cluster whose store said it.
///
/// Ordered by precedence, lowest first: what was restored from disk loses against anything live, a remote cluster
/// against our own store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The kind of source.
    pub source: Source,
    /// The cluster.
    pub cluster: ClusterName,
}

impl Origin {
    /// An origin.
    pub fn new(source: Source, cluster: ClusterName) -> Self {
        Self { source, cluster }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.cluster)
    }
}
