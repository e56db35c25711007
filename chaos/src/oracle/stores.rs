//! What a cluster's store says, read by etcdctl and understood from Cilium's formats.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use testbed::Store;

/// One cluster's state.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) ips: Vec<Ip>,
    pub(super) nodes: Vec<Node>,
    /// Labels by identity number.
    identities: BTreeMap<u32, String>,
    /// Services by `<namespace>/<name>`.
    services: BTreeMap<String, Value>,
}

/// `cilium/state/ip/v1/default/<ip>`.
#[derive(Debug)]
pub(super) struct Ip {
    pub(super) ip: IpAddr,
    pub(super) host: Option<IpAddr>,
    pub(super) identity: u32,
}

/// `cilium/state/nodes/v1/<cluster>/<name>`.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) ips: Vec<IpAddr>,
}

/// Everything below `cilium/state/`, at one revision.
pub(super) fn list(store: &Store) -> Result<Listed> {
    let text = store.etcdctl(&["get", "--prefix", "cilium/state/", "--write-out=json"])?;
    let answer: Value = serde_json::from_str(&text).context("understand etcdctl")?;
    let mut listed = Listed::default();
    for kv in answer["kvs"].as_array().into_iter().flatten() {
        let text = |field: &str| -> Result<String> {
            let bytes = STANDARD.decode(kv[field].as_str().unwrap_or_default()).context("etcdctl prints base64")?;
            String::from_utf8(bytes).context("keys and values are text")
        };
        let (key, value) = (text("key")?, text("value")?);
        listed.take(&key, &value).with_context(|| format!("understand {key}"))?;
    }
    Ok(listed)
}

// === impl Listed ===

impl Listed {
    /// Addresses of the namespace's pods with this label `app`.
    pub(super) fn addresses_of(&self, namespace: &str, app: &str) -> BTreeSet<IpAddr> {
        let (app, namespace) = (format!("k8s:app={app};"), format!("k8s:io.kubernetes.pod.namespace={namespace};"));
        let selected = |id: &u32| {
            self.identities.get(id).is_some_and(|labels| labels.contains(&app) && labels.contains(&namespace))
        };
        self.ips.iter().filter(|ip| selected(&ip.identity)).map(|ip| ip.ip).collect()
    }

    /// Backends that the cluster shares of a service.
    pub(super) fn backends(&self, namespace: &str, name: &str) -> Vec<IpAddr> {
        let service = self.services.get(&format!("{namespace}/{name}"));
        let backends = service.and_then(|service| service["backends"].as_object());
        backends.into_iter().flatten().filter_map(|(ip, _)| ip.parse().ok()).collect()
    }

    /// Whether the rest of an identity's key, `id/<number>` or `value/<labels>/<node>`, is of one that an address has.
    pub(super) fn names(&self, key: &str) -> bool {
        let used = |number: u32| self.ips.iter().any(|ip| ip.identity == number);
        if let Some(number) = key.strip_prefix("id/") {
            return number.parse().is_ok_and(used);
        }
        let labels = key.strip_prefix("value/").and_then(|rest| rest.rsplit_once('/')).map(|(labels, _)| labels);
        labels.is_some_and(|labels| self.identities.iter().any(|(number, of)| of == labels && used(*number)))
    }

    fn take(&mut self, key: &str, value: &str) -> Result<()> {
        let rest = key.strip_prefix("cilium/state/").unwrap_or(key);
        let parts: Vec<&str> = rest.splitn(3, '/').collect();
        match parts.as_slice() {
            ["ip", "v1", _] => {
                let value: Value = serde_json::from_str(value)?;
                let ip = value["IP"].as_str().context("no IP")?.parse()?;
                let host = value["HostIP"].as_str().and_then(|host| host.parse().ok());
                let identity = value["ID"].as_u64().and_then(|id| u32::try_from(id).ok()).context("no ID")?;
                self.ips.push(Ip { ip, host, identity });
            }
            ["nodes", "v1", _] => {
                let value: Value = serde_json::from_str(value)?;
                let addresses = value["IPAddresses"].as_array().into_iter().flatten();
                let ips = addresses.filter_map(|address| address["IP"].as_str()?.parse().ok()).collect();
                self.nodes.push(Node { name: value["Name"].as_str().context("no Name")?.to_owned(), ips });
            }
            ["identities", "v1", name] => {
                if let Some(id) = name.strip_prefix("id/") {
                    self.identities.insert(id.parse()?, value.to_owned());
                }
            }
            ["services", "v1", name] => {
                let name = name.split_once('/').context("no cluster")?.1.to_owned();
                self.services.insert(name, serde_json::from_str(value)?);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cilium_writes_is_understood() {
        let mut listed = Listed::default();
        for (key, value) in [
            (
                "cilium/state/ip/v1/default/10.1.1.2",
                r#"{"IP":"10.1.1.2","Mask":null,"HostIP":"192.168.0.1","ID":70000}"#,
            ),
            ("cilium/state/identities/v1/id/70000", "k8s:app=web;k8s:io.kubernetes.pod.namespace=demo;"),
            (
                "cilium/state/nodes/v1/east/east-1",
                r#"{"Name":"east-1","IPAddresses":[{"Type":"InternalIP","IP":"192.168.0.1"}]}"#,
            ),
            ("cilium/state/services/v1/west/demo/web", r#"{"name":"web","backends":{"10.2.1.2":{}}}"#),
        ] {
            listed.take(key, value).unwrap();
        }
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(listed.addresses_of("demo", "web"), [ip("10.1.1.2")].into());
        assert!(listed.addresses_of("demo", "we").is_empty() && listed.addresses_of("other", "web").is_empty());
        assert_eq!(listed.backends("demo", "web"), [ip("10.2.1.2")]);
        let labels = "k8s:app=web;k8s:io.kubernetes.pod.namespace=demo;";
        assert!(listed.names("id/70000") && listed.names(&format!("value/{labels}/192.168.0.1")));
        for unused in ["id/70001", "value/k8s:app=gone;/192.168.0.1", "locks/id/70000/1f", "value/"] {
            assert!(!listed.names(unused), "{unused}");
        }
        assert_eq!(listed.nodes[0].ips, [ip("192.168.0.1")]);
        assert!(listed.take("cilium/state/ip/v1/default/x", "{}").is_err());
    }
}
