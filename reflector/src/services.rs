//! `services/v1/<cluster>/` to table `global-services`.

use std::net::IpAddr;

use std::sync::Arc;

use kvstore::KeyValue;
use model::{ClusterId, ClusterName, ServiceName};
use statedb::{Row, Writer};
use tables::RemoteService;

use crate::{Border, Decode, Decoded, Held, Import, Mark};

/// The services that one cluster shares.
pub struct ServiceDecode {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its number: every service must have it.
    pub cluster_id: ClusterId,
    /// What it may claim.
    pub border: Option<Arc<dyn Border>>,
}

// === impl Import ===

impl Import {
    /// Imports services. The source is announced at once; the future runs until it is dropped.
    pub fn services(
        self,
        cluster_id: ClusterId,
        writer: Writer<RemoteService>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let prefix = wire::service::prefix(self.wire_source(), &self.cluster);
        let decode = ServiceDecode { cluster: self.cluster.clone(), cluster_id, border: self.border.clone() };
        self.run(decode, prefix, writer)
    }
}

// === impl ServiceDecode ===

impl Decode for ServiceDecode {
    type Row = RemoteService;
    const RESOURCE: &'static str = "services";
    const REFUSAL_WITHDRAWS: bool = false;
    const HELD: Held = Held::None;

    fn decode(&self, key: &str, name: &str, kv: &KeyValue) -> Result<Decoded<RemoteService>, String> {
        let service = wire::service::decode(key, name, &kv.value).map_err(|error| error.to_string())?;
        if service.cluster != self.cluster {
            return Err(format!("{key}: cluster: {} is not {}", service.cluster, self.cluster));
        }
        if service.cluster_id != self.cluster_id {
            let Self { cluster, cluster_id, .. } = self;
            return Err(format!("{key}: clusterID: {} is not that of {cluster}: {cluster_id}", service.cluster_id));
        }
        Ok(match service.shared {
            true => Decoded::Row(RemoteService { service: Arc::new(service) }),
            false => Decoded::Absent,
        })
    }

    fn admit(&self, row: RemoteService) -> Result<(RemoteService, Option<String>), String> {
        let Some(border) = &self.border else { return Ok((row, None)) };
        let (service, left_out) = border.service(Arc::unwrap_or_clone(row.service))?;
        Ok((RemoteService { service: Arc::new(service) }, left_out))
    }

    fn name(&self, row: &RemoteService) -> String {
        row.service.name.to_string()
    }

    fn row_key(&self, name: &str) -> Option<<RemoteService as Row>::Key> {
        name.parse::<ServiceName>().ok().map(|name| (name, self.cluster.clone()))
    }

    fn owns(&self, row: &RemoteService) -> bool {
        row.service.cluster == self.cluster
    }

    /// Rows do not tell: those that the first list did not write are from the disk.
    fn is_restored(&self, _row: &RemoteService) -> bool {
        true
    }

    /// Backends that are new: of one that goes the kernel tells a number only.
    fn marks(before: Option<&RemoteService>, after: Option<&RemoteService>) -> Vec<Mark> {
        let Some(after) = after else { return Vec::new() };
        let known = |ip: &IpAddr| before.is_some_and(|before| before.service.backends.contains_key(ip));
        let new = after.service.backends.iter().filter(|(ip, _)| !known(ip));
        let at = |ip: &IpAddr, port: &model::PortProto| Mark::Backend(model::L3n4Addr::new(*ip, port.port, port.proto));
        new.flat_map(|(ip, ports)| ports.values().map(|port| at(ip, port)).collect::<Vec<_>>()).collect()
    }

    fn cluster(&self) -> &ClusterName {
        &self.cluster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unshared_service_is_as_good_as_absent() {
        fn check(value: &str, expect: &str) {
            let decode = ServiceDecode {
                cluster: "west".parse().unwrap(),
                cluster_id: ClusterId::try_new(2).unwrap(),
                border: None,
            };
            let got = match decode.decode("k", "ns/s", &crate::core::tests::kv("k", value, 1)) {
                Ok(Decoded::Row(_)) => "row".to_owned(),
                Ok(Decoded::Absent) => "absent".to_owned(),
                Err(error) => error,
            };
            assert_eq!(got, expect, "{value}");
        }
        let of = |cluster: &str, id: u32, shared: bool| {
            format!(r#"{{"cluster":"{cluster}","namespace":"ns","name":"s","shared":{shared},"clusterID":{id}}}"#)
        };
        check(&of("west", 2, true), "row");
        check(&of("west", 2, false), "absent");
        check(&of("east", 2, true), "k: cluster: east is not west");
        check(&of("west", 0, true), "k: clusterID: 0 is not that of west: 2");
    }
}
