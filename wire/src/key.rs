//! The roots of Cilium's tree, and which of its two copies is meant.

use model::ClusterName;

/// Where a cluster's data stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// Written by the cluster itself.
    State,
    /// That cluster's data, mirrored into a store of ours. Addresses and identities then stand under
    /// the cluster's name.
    Cache(&'a ClusterName),
}

/// A kind of data that clusters exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    Nodes,
    Services,
    Ip,
    Identities,
    ServiceExports,
    EndpointSlices,
}

/// What of a watched key follows the prefix, if the key is below it and is text.
pub fn name_after<'k>(prefix: &str, key: &'k [u8]) -> Option<&'k str> {
    std::str::from_utf8(key).ok()?.strip_prefix(prefix)
}

// === impl Source ===

impl Source<'_> {
    /// The top of this copy, without a slash at the end.
    pub fn root(self) -> &'static str {
        match self {
            Self::State => "cilium/state",
            Self::Cache(_) => "cilium/cache",
        }
    }

    /// `cilium/state/nodes/v1`: also the name of the resource's canary.
    pub fn base(self, resource: Resource) -> String {
        format!("{}/{}", self.root(), resource.path())
    }
}

// === impl Resource ===

impl Resource {
    pub const ALL: [Self; 6] =
        [Self::Nodes, Self::Services, Self::Ip, Self::Identities, Self::ServiceExports, Self::EndpointSlices];

    pub fn path(self) -> &'static str {
        match self {
            Self::Nodes => "nodes/v1",
            Self::Services => "services/v1",
            Self::Ip => "ip/v1",
            Self::Identities => "identities/v1",
            Self::ServiceExports => "serviceexports/v1",
            Self::EndpointSlices => "endpointslices/v1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_after_their_prefix() {
        assert_eq!(name_after("a/", b"a/b/c"), Some("b/c"));
        assert_eq!(name_after("a/", b"ab"), None);
        assert_eq!(name_after("a/", b"a/\xff"), None);
        let east: ClusterName = "east".parse().unwrap();
        assert_eq!(Source::State.base(Resource::Ip), "cilium/state/ip/v1");
        assert_eq!(Source::Cache(&east).base(Resource::Ip), "cilium/cache/ip/v1");
    }
}
