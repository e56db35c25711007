//! `identities/v1/id/` to table `identities`.

use kvstore::KeyValue;
use model::{ClusterId, ClusterIdLayout, ClusterName, NumericIdentity, Source};
use statedb::{Row, Writer};
use tables::{Identity, Origin};

use crate::{Decode, Decoded, Held, Import, Mark};

/// The identities of one cluster.
pub struct IdentityDecode {
    /// Who says so.
    pub origin: Origin,
    /// Its number.
    pub cluster_id: ClusterId,
    /// How identity numbers tell clusters apart.
    pub layout: ClusterIdLayout,
}

// === impl Import ===

impl Import {
    /// Imports identities. The source is announced at once; the future runs until it is dropped.
    pub fn identities(
        self,
        cluster_id: ClusterId,
        layout: ClusterIdLayout,
        writer: Writer<Identity>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let prefix = wire::identity::id_prefix(self.wire_source());
        let decode = IdentityDecode { origin: Origin::new(self.source, self.cluster.clone()), cluster_id, layout };
        self.run(decode, prefix, writer)
    }
}

// === impl IdentityDecode ===

impl IdentityDecode {
    fn in_range(&self, id: NumericIdentity) -> bool {
        !id.is_reserved() && self.layout.owns(self.cluster_id, id)
    }
}

impl Decode for IdentityDecode {
    type Row = Identity;
    const RESOURCE: &'static str = "identities";
    const REFUSAL_WITHDRAWS: bool = false;
    const HELD: Held = Held::None;

    fn decode(&self, key: &str, name: &str, kv: &KeyValue) -> Result<Decoded<Identity>, String> {
        let (id, labels) = wire::identity::decode(key, name, &kv.value).map_err(|error| error.to_string())?;
        let cluster = &self.origin.cluster;
        if !self.in_range(id) {
            return Err(format!("{key}: {id} is not in the range of {cluster}"));
        }
        if labels.is_empty() {
            return Err(format!("{key}: no labels"));
        }
        // Our own allocators are trusted, those of others are not.
        if self.origin.source == Source::ClusterMesh && labels.cluster() != Some(cluster.as_str()) {
            return Err(format!("{key}: label k8s:{} is not {cluster}", model::keys::POLICY_CLUSTER));
        }
        let create_revision = kv.create_revision;
        Ok(Decoded::Row(Identity { id, labels, origin: self.origin.clone(), create_revision }))
    }

    /// Its number and its labels say all.
    fn admit(&self, row: Identity) -> Result<(Identity, Option<String>), String> {
        Ok((row, None))
    }

    fn name(&self, row: &Identity) -> String {
        row.id.to_string()
    }

    fn row_key(&self, name: &str) -> Option<<Identity as Row>::Key> {
        wire::identity::parse_number("", name).ok().filter(|id| self.in_range(*id))
    }

    fn owns(&self, row: &Identity) -> bool {
        row.origin.cluster == self.origin.cluster && row.origin.source != Source::Local
    }

    fn is_restored(&self, row: &Identity) -> bool {
        row.origin.source == Source::Restored
    }

    fn marks(before: Option<&Identity>, after: Option<&Identity>) -> Vec<Mark> {
        after.or(before).map(|row| Mark::Identity(row.id)).into_iter().collect()
    }

    fn cluster(&self) -> &ClusterName {
        &self.origin.cluster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_identity_names_its_cluster_and_lies_in_its_range() {
        fn check(id: &str, labels: &str, accepted: bool) {
            let decode = IdentityDecode {
                origin: Origin::new(Source::ClusterMesh, "west".parse().unwrap()),
                cluster_id: ClusterId::try_new(2).unwrap(),
                layout: ClusterIdLayout::Max255,
            };
            let result = decode.decode("k", id, &crate::core::tests::kv("k", labels, 7));
            assert_eq!(result.is_ok(), accepted, "{id} {labels}: {result:?}");
        }
        check("131073", "k8s:app=a;k8s:io.cilium.k8s.policy.cluster=west;", true);
        check("131073", "k8s:app=a;k8s:io.cilium.k8s.policy.cluster=east;", false);
        check("131073", "k8s:app=a;", false);
        check("131073", "x:io.cilium.k8s.policy.cluster=west;", false);
        check("65537", "k8s:io.cilium.k8s.policy.cluster=west;", false);
        check("7", "k8s:io.cilium.k8s.policy.cluster=west;", false);
        check("131073", "", false);
    }
}
