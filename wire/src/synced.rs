//! `cilium/synced/<cluster>/<base prefix>`: canaries. Each is written after all keys of its prefix.

use model::ClusterName;

use crate::{Source, key::Resource};

/// What to watch. Deletes and unknown canaries mean nothing.
pub fn prefix(cluster: &ClusterName) -> String {
    format!("cilium/synced/{cluster}/")
}

pub fn key(cluster: &ClusterName, source: Source<'_>, resource: Resource) -> String {
    format!("{}{}", prefix(cluster), source.base(resource))
}

/// The value: a time that nobody reads.
pub use crate::heartbeat::encode;

/// Which prefix is complete; `name` is the rest of the key after [`prefix`]. `None` for a canary of
/// the other copy, or of something that we do not know.
pub fn parse(source: Source<'_>, name: &str) -> Option<Resource> {
    Resource::ALL.into_iter().find(|resource| source.base(*resource) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_have_the_prefix_without_address_space_or_id() {
        let east: ClusterName = "east".parse().unwrap();
        assert_eq!(key(&east, Source::State, Resource::Ip), "cilium/synced/east/cilium/state/ip/v1");
        assert_eq!(
            key(&east, Source::Cache(&east), Resource::Identities),
            "cilium/synced/east/cilium/cache/identities/v1"
        );
        assert_eq!(parse(Source::State, "cilium/state/nodes/v1"), Some(Resource::Nodes));
        assert_eq!(parse(Source::State, "cilium/cache/nodes/v1"), None);
        assert_eq!(parse(Source::State, "cilium/state/tomorrow/v1"), None);
    }
}
