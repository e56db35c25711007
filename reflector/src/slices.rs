//! `endpointslices/v1/<cluster>/` to table `remote-slices`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use kvstore::KeyValue;
use model::{ClusterId, ClusterName, ServiceName};
use statedb::{Row, Writer};
use tables::RemoteSlice;

use crate::{Border, Decode, Decoded, Held, Import, Mark};

/// The endpoint slices that one cluster shares.
pub struct SliceDecode {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its number: every slice must have it.
    pub cluster_id: ClusterId,
    /// What it may claim.
    pub border: Option<Arc<dyn Border>>,
}

// === impl Import ===

impl Import {
    /// Imports endpoint slices. The source is announced at once; the future runs until it is dropped.
    pub fn slices(
        self,
        cluster_id: ClusterId,
        writer: Writer<RemoteSlice>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let prefix = wire::endpoint_slice::prefix(self.wire_source(), &self.cluster);
        let decode = SliceDecode { cluster: self.cluster.clone(), cluster_id, border: self.border.clone() };
        self.run(decode, prefix, writer)
    }
}

// === impl SliceDecode ===

impl Decode for SliceDecode {
    type Row = RemoteSlice;
    const RESOURCE: &'static str = "endpointslices";
    const REFUSAL_WITHDRAWS: bool = false;
    const HELD: Held = Held::None;

    fn decode(&self, key: &str, name: &str, kv: &KeyValue) -> Result<Decoded<RemoteSlice>, String> {
        let slice = wire::endpoint_slice::decode(key, name, &kv.value).map_err(|error| error.to_string())?;
        let Self { cluster, cluster_id, .. } = self;
        if slice.cluster != *cluster {
            return Err(format!("{key}: cluster: {} is not {cluster}", slice.cluster));
        }
        if slice.cluster_id != *cluster_id {
            return Err(format!("{key}: clusterID: {} is not that of {cluster}: {cluster_id}", slice.cluster_id));
        }
        if slice.service().is_none() {
            return Err(format!("{key}: labels: {} names no Service", model::SERVICE_NAME));
        }
        Ok(Decoded::Row(RemoteSlice { slice: Arc::new(slice) }))
    }

    fn admit(&self, row: RemoteSlice) -> Result<(RemoteSlice, Option<String>), String> {
        let Some(border) = &self.border else { return Ok((row, None)) };
        let (slice, left_out) = border.slice(Arc::unwrap_or_clone(row.slice))?;
        Ok((RemoteSlice { slice: Arc::new(slice) }, left_out))
    }

    fn name(&self, row: &RemoteSlice) -> String {
        row.slice.name.to_string()
    }

    fn row_key(&self, name: &str) -> Option<<RemoteSlice as Row>::Key> {
        name.parse::<ServiceName>().ok().map(|name| (name, self.cluster.clone()))
    }

    fn owns(&self, row: &RemoteSlice) -> bool {
        row.slice.cluster == self.cluster
    }

    /// Rows do not tell: those that the first list did not write are from the disk.
    fn is_restored(&self, _row: &RemoteSlice) -> bool {
        true
    }

    /// Backends that are new: of one that goes the kernel tells a number only.
    fn marks(before: Option<&RemoteSlice>, after: Option<&RemoteSlice>) -> Vec<Mark> {
        let Some(after) = after else { return Vec::new() };
        let endpoints = before.into_iter().flat_map(|before| &before.slice.endpoints);
        let known: BTreeSet<&IpAddr> = endpoints.flat_map(|endpoint| &endpoint.addresses).collect();
        let backends = after.slice.to_backends().into_iter().map(|backend| backend.addr);
        backends.filter(|addr| !known.contains(&addr.ip)).map(Mark::Backend).collect()
    }

    fn cluster(&self) -> &ClusterName {
        &self.cluster
    }
}

#[cfg(test)]
mod tests {
    use model::EndpointSlice;

    use super::*;

    #[test]
    fn a_slice_is_of_its_cluster_and_names_a_service() {
        fn check(change: impl Fn(&mut EndpointSlice), expect: &str) {
            let mut slice = EndpointSlice {
                cluster: "west".parse().unwrap(),
                cluster_id: ClusterId::try_new(2).unwrap(),
                name: "ns/s".parse().unwrap(),
                labels: [(model::SERVICE_NAME.to_owned(), "cart".to_owned())].into(),
                annotations: [].into(),
                ipv4: true,
                endpoints: Vec::new(),
                ports: Vec::new(),
            };
            change(&mut slice);
            let decode = SliceDecode {
                cluster: "west".parse().unwrap(),
                cluster_id: ClusterId::try_new(2).unwrap(),
                border: None,
            };
            let mut kv = crate::core::tests::kv("k", "", 1);
            kv.value = wire::endpoint_slice::encode(&slice).into();
            let got = match decode.decode("k", "ns/s", &kv) {
                Ok(Decoded::Row(_)) => "row".to_owned(),
                Ok(Decoded::Absent) => "absent".to_owned(),
                Err(error) => error,
            };
            assert_eq!(got, expect);
        }
        check(|_| {}, "row");
        check(|slice| slice.cluster = "east".parse().unwrap(), "k: cluster: east is not west");
        check(|slice| slice.cluster_id = ClusterId::NONE, "k: clusterID: 0 is not that of west: 2");
        check(|slice| slice.labels.clear(), "k: labels: kubernetes.io/service-name names no Service");
    }
}
