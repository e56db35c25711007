//! Who told us.

use std::fmt;

/// The origin of a fact, from the least to the most trusted: of two claims the greater one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Source {
    #[default]
    Unspecified,
    /// From our own disk, of an earlier run.
    Restored,
    Generated,
    ClusterMesh,
    CustomResource,
    Kubernetes,
    Kvstore,
    Local,
    KubeApiserver,
}

// === impl Source ===

impl Source {
    pub const ALL: [Self; 9] = [
        Self::Unspecified,
        Self::Restored,
        Self::Generated,
        Self::ClusterMesh,
        Self::CustomResource,
        Self::Kubernetes,
        Self::Kvstore,
        Self::Local,
        Self::KubeApiserver,
    ];

    /// Cilium's text; empty for an origin that was not stated.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::Restored => "restored",
            Self::Generated => "generated",
            Self::ClusterMesh => "clustermesh",
            Self::CustomResource => "custom-resource",
            Self::Kubernetes => "k8s",
            Self::Kvstore => "kvstore",
            Self::Local => "local",
            Self::KubeApiserver => "kube-apiserver",
        }
    }

    /// Readers overwrite the source anyway, so a word of a later version is no error.
    pub fn from_text(text: &str) -> Self {
        Self::ALL.into_iter().find(|s| s.as_str() == text).unwrap_or_default()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_beats_the_store_and_the_store_beats_remote_clusters() {
        assert!(Source::Local > Source::Kvstore && Source::Kvstore > Source::ClusterMesh);
        assert!(Source::ClusterMesh > Source::Restored);
        for source in Source::ALL {
            assert_eq!(Source::from_text(source.as_str()), source);
        }
        assert_eq!(Source::from_text("of-tomorrow"), Source::Unspecified);
    }
}
