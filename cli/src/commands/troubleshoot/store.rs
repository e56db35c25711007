//! What the store holds: the keys that a mesh cannot do without, read as the client that is configured.

use std::time::Duration;

use kvstore::{Backend, Etcd, EtcdConfig, Range, RangeResult};
use model::ClusterName;
use tokio::time::timeout as within;

use super::report::Report;
use super::whole;

const PART: &str = "Etcd client";

pub(super) async fn check(report: &mut Report, config: &EtcdConfig, remote: Option<&str>, timeout: Duration) {
    let etcd = match Etcd::connect(config, false) {
        Ok(etcd) => etcd,
        Err(error) => return report.bad(PART, format!("connection: {}", whole(error))),
    };
    let range = async |range: Range| -> Result<RangeResult, String> {
        match within(timeout, etcd.range(range)).await {
            Ok(answer) => answer.map_err(|error| error.full()),
            Err(_) => Err(format!("no answer within {timeout:?}")),
        }
    };
    match range(Range::key(wire::heartbeat::KEY)).await {
        Err(error) => return report.bad(PART, format!("read of {}: {error}", wire::heartbeat::KEY)),
        Ok(answer) => {
            report.good(PART, format!("connected, cluster ID {:x}", answer.header.cluster_id));
            match answer.kvs.first() {
                Some(kv) => report.good(PART, format!("heartbeat {}", String::from_utf8_lossy(&kv.value))),
                None => report.warn(PART, format!("no {}: does the cluster's operator run?", wire::heartbeat::KEY)),
            }
        }
    }
    let configs = "cilium/cluster-config/";
    let wanted = match remote.map(ClusterName::try_new) {
        Some(Ok(name)) => wire::cluster_config::key(&name),
        Some(Err(error)) => return report.bad(PART, error.to_string()),
        None => configs.to_owned(),
    };
    match range(Range::prefix(wanted.clone()).limit(10)).await {
        Err(error) => report.bad(PART, format!("read of {wanted}: {error}")),
        Ok(answer) => {
            for kv in &answer.kvs {
                let (key, value) = (String::from_utf8_lossy(&kv.key), String::from_utf8_lossy(&kv.value));
                match wire::cluster_config::decode(&key, &kv.value) {
                    Ok(_) => report.good(PART, format!("{key}: {value}")),
                    Err(error) => report.bad(PART, format!("{key}: {error}")),
                }
            }
            if answer.kvs.is_empty() {
                let text = format!("no {wanted}: the cluster's operator has not written its configuration");
                if remote.is_some() { report.bad(PART, text) } else { report.warn(PART, text) }
            }
        }
    }
    for prefix in
        ["cilium/state/nodes/v1/", "cilium/state/ip/v1/", "cilium/state/identities/v1/", "cilium/state/services/v1/"]
    {
        match range(Range::prefix(prefix).limit(1)).await {
            Err(error) => report.bad(PART, format!("read of {prefix}: {error}")),
            Ok(answer) if answer.kvs.is_empty() => report.good(PART, format!("{prefix} may be read and is empty")),
            Ok(_) => report.good(PART, format!("{prefix} may be read and holds keys")),
        }
    }
}
