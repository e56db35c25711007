//! `ip/v1/default/` to table `ips`.

use std::sync::Arc;

use kvstore::KeyValue;
use model::{ClusterId, ClusterIdLayout, ClusterName, NumericIdentity, Prefix, Source};
use statedb::{Row, Writer};
use tables::{IpClaim, Origin};

use crate::{Border, Decode, Decoded, Held, Import, Mark};

/// The addresses that one cluster's store claims.
pub struct IpDecode {
    /// Who claims.
    pub origin: Origin,
    /// Its number.
    pub cluster_id: ClusterId,
    /// How identity numbers tell clusters apart.
    pub layout: ClusterIdLayout,
    /// For another cluster: what it may claim.
    pub border: Option<Arc<dyn Border>>,
}

// === impl Import ===

impl Import {
    /// Imports addresses. The source is announced at once; the future runs until it is dropped.
    pub fn ips(
        self,
        cluster_id: ClusterId,
        layout: ClusterIdLayout,
        writer: Writer<IpClaim>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let prefix = wire::ip::prefix(self.wire_source());
        let decode = IpDecode {
            origin: Origin::new(self.source, self.cluster.clone()),
            cluster_id,
            layout,
            border: self.border.clone(),
        };
        self.run(decode, prefix, writer)
    }
}

// === impl IpDecode ===

impl Decode for IpDecode {
    type Row = IpClaim;
    const RESOURCE: &'static str = "ip";
    const REFUSAL_WITHDRAWS: bool = true;
    const HELD: Held = Held::AtOnce;

    fn decode(&self, key: &str, name: &str, kv: &KeyValue) -> Result<Decoded<IpClaim>, String> {
        let mut entry = wire::ip::decode(key, name, &kv.value).map_err(|error| error.to_string())?;
        if !entry.identity.is_reserved() && !self.layout.owns(self.cluster_id, entry.identity) {
            return Err(format!("{key}: ID: {} is not in the range of {}", entry.identity, self.origin.cluster));
        }
        if entry.identity == NumericIdentity::HOST {
            // Another host than ours.
            entry.identity = NumericIdentity::REMOTE_NODE;
        }
        Ok(Decoded::Row(IpClaim { origin: self.origin.clone(), entry }))
    }

    fn admit(&self, row: IpClaim) -> Result<(IpClaim, Option<String>), String> {
        self.border.as_ref().map_or(Ok(()), |border| border.ip(&row.entry))?;
        Ok((row, None))
    }

    fn name(&self, row: &IpClaim) -> String {
        row.entry.prefix.to_string()
    }

    fn row_key(&self, name: &str) -> Option<<IpClaim as Row>::Key> {
        name.parse::<Prefix>().ok().map(|prefix| (prefix, self.origin.clone()))
    }

    fn owns(&self, row: &IpClaim) -> bool {
        row.origin == self.origin
    }

    fn is_restored(&self, row: &IpClaim) -> bool {
        row.origin.source == Source::Restored
    }

    fn marks(before: Option<&IpClaim>, after: Option<&IpClaim>) -> Vec<Mark> {
        after.or(before).map(|row| Mark::Prefix(row.entry.prefix)).into_iter().collect()
    }

    fn cluster(&self) -> &ClusterName {
        &self.origin.cluster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_must_be_reserved_or_in_the_clusters_range() {
        fn check(id: u32, expect: Option<u32>) {
            let decode = IpDecode {
                origin: Origin::new(Source::ClusterMesh, "west".parse().unwrap()),
                cluster_id: ClusterId::try_new(2).unwrap(),
                layout: ClusterIdLayout::Max255,
                border: None,
            };
            let kv = crate::core::tests::kv("k", &format!(r#"{{"IP":"10.2.0.1","ID":{id}}}"#), 1);
            let got = match decode.decode("k", "10.2.0.1", &kv) {
                Ok(Decoded::Row(row)) => Some(row.entry.identity.get()),
                _ => None,
            };
            assert_eq!(got, expect, "{id}");
        }
        check(2 << 16, Some(2 << 16));
        check((3 << 16) - 1, Some((3 << 16) - 1));
        check(3 << 16, None);
        check(65_536, None);
        check(1, Some(6));
        check(4, Some(4));
        check(256, None);
        check(1 << 24 | 1, None);
    }
}
