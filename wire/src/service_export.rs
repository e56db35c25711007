//! `state/serviceexports/v1/<cluster>/<namespace>/<name>`: a Service offered through the MCS API.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{ClusterName, ServiceName};

use crate::{
    Broken, DecodeError, Source,
    error::{Fault, Read},
    heartbeat::rfc3339,
    json::{Reader, Writer, field_name, parse},
    key::Resource,
    node::text,
};

/// As Cilium 1.19 and later write it; labels and annotations stand there twice, for older readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceExport {
    pub cluster: ClusterName,
    pub name: ServiceName,
    pub annotations: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub created: Timestamp,
    pub ports: Vec<ExportPort>,
    /// `ClusterSetIP` or `Headless`.
    pub headless: bool,
    /// `None`, or by client address with an optional time-out.
    pub session_affinity: SessionAffinity,
    pub ip_families: Vec<String>,
    pub internal_traffic_policy: String,
    pub traffic_distribution: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportPort {
    pub name: String,
    pub protocol: String,
    pub app_protocol: Option<String>,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionAffinity {
    #[default]
    None,
    ClientIp {
        timeout_secs: Option<u32>,
    },
}

const FIELDS: [&str; 14] = [
    "cluster",
    "name",
    "namespace",
    "annotations",
    "labels",
    "Labels",
    "Annotations",
    "exportCreationTimestamp",
    "ports",
    "type",
    "sessionAffinity",
    "sessionAffinityConfig",
    "ipFamilies",
    "internalTrafficPolicy",
];

pub fn prefix(source: Source<'_>, cluster: &ClusterName) -> String {
    format!("{}/{cluster}/", source.base(Resource::ServiceExports))
}

pub fn key(cluster: &ClusterName, service: &ServiceName) -> String {
    format!("{}{service}", prefix(Source::State, cluster))
}

pub fn encode(export: &ServiceExport) -> Vec<u8> {
    Writer::document(|w| {
        w.name("cluster").string(export.cluster.as_str());
        w.name("name").string(export.name.name());
        w.name("namespace").string(export.name.namespace());
        let maps = [("annotations", &export.annotations), ("labels", &export.labels)];
        let again = [("Labels", &export.labels), ("Annotations", &export.annotations)];
        for (name, map) in maps.into_iter().chain(again).filter(|(_, map)| !map.is_empty()) {
            w.name(name).string_map(map);
        }
        w.name("exportCreationTimestamp").quoted(rfc3339(export.created));
        w.name("ports").array(&export.ports, |w, port| {
            w.object(|w| {
                if !port.name.is_empty() {
                    w.name("name").string(&port.name);
                }
                if !port.protocol.is_empty() {
                    w.name("protocol").string(&port.protocol);
                }
                if let Some(app) = &port.app_protocol {
                    w.name("appProtocol").string(app);
                }
                w.name("port").plain(port.port);
            });
        });
        w.name("type").string(if export.headless { "Headless" } else { "ClusterSetIP" });
        match export.session_affinity {
            SessionAffinity::None => w.name("sessionAffinity").string("None"),
            SessionAffinity::ClientIp { timeout_secs } => {
                w.name("sessionAffinity").string("ClientIP");
                if let Some(secs) = timeout_secs {
                    w.name("sessionAffinityConfig").object(|w| {
                        w.name("clientIP").object(|w| w.name("timeoutSeconds").plain(secs));
                    });
                }
            }
        }
        if !export.ip_families.is_empty() {
            w.name("ipFamilies").array(&export.ip_families, |w, family| w.string(family));
        }
        let words = [
            ("internalTrafficPolicy", &export.internal_traffic_policy),
            ("trafficDistribution", &export.traffic_distribution),
        ];
        for (name, word) in words.into_iter().filter(|(_, word)| !word.is_empty()) {
            w.name(name).string(word);
        }
    })
}

/// `name` is the rest of the key after [`prefix`]: `<namespace>/<name>`.
///
/// # Errors
/// Besides malformed values: names must be there and those of the key, the time must be set, and
/// each word one that Cilium knows.
pub fn decode(key: &str, name: &str, value: &[u8]) -> Result<ServiceExport, DecodeError> {
    parse(value, |r| read(r, name)).map_err(|fault| fault.of(key))
}

/// The members as they stand, before they are checked.
#[derive(Default)]
struct Raw {
    cluster: String,
    name: String,
    namespace: String,
    annotations: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    old_annotations: BTreeMap<String, String>,
    old_labels: BTreeMap<String, String>,
    created: String,
    ports: Vec<ExportPort>,
    kind: String,
    affinity: String,
    timeout_secs: Option<u32>,
    ip_families: Vec<String>,
    internal_traffic_policy: String,
    traffic_distribution: String,
}

fn read(r: &mut Reader<'_>, key_name: &str) -> Read<ServiceExport> {
    let mut raw = Raw::default();
    r.object(|r, key| match field_name(key, &FIELDS) {
        Some("cluster") => text(&mut raw.cluster, r),
        Some("name") => text(&mut raw.name, r),
        Some("namespace") => text(&mut raw.namespace, r),
        Some("annotations") => r.string_map(&mut raw.annotations),
        Some("labels") => r.string_map(&mut raw.labels),
        Some("Labels") => r.string_map(&mut raw.old_labels),
        Some("Annotations") => r.string_map(&mut raw.old_annotations),
        Some("exportCreationTimestamp") => text(&mut raw.created, r),
        Some("ports") => {
            raw.ports.clear();
            r.array(|r| {
                raw.ports.push(read_port(r)?);
                Ok(())
            })
        }
        Some("type") => text(&mut raw.kind, r),
        Some("sessionAffinity") => text(&mut raw.affinity, r),
        Some("sessionAffinityConfig") => read_affinity(r, &mut raw.timeout_secs),
        Some("ipFamilies") => {
            raw.ip_families.clear();
            r.array(|r| {
                raw.ip_families.push(r.string()?.unwrap_or_default().into_owned());
                Ok(())
            })
        }
        Some("internalTrafficPolicy") => text(&mut raw.internal_traffic_policy, r),
        _ if field_name(key, &["trafficDistribution"]).is_some() => text(&mut raw.traffic_distribution, r),
        _ => r.skip(),
    })?;
    raw.check(key_name)
}

fn read_port(r: &mut Reader<'_>) -> Read<ExportPort> {
    let mut port = ExportPort::default();
    r.object(|r, key| match field_name(key, &["name", "protocol", "appProtocol", "port"]) {
        Some("name") => text(&mut port.name, r),
        Some("protocol") => text(&mut port.protocol, r),
        Some("appProtocol") => {
            port.app_protocol = r.string()?.map(|t| t.into_owned());
            Ok(())
        }
        Some("port") => {
            port.port = r.uint()?.unwrap_or(port.port);
            Ok(())
        }
        _ => r.skip(),
    })?;
    Ok(port)
}

fn read_affinity(r: &mut Reader<'_>, timeout_secs: &mut Option<u32>) -> Read<()> {
    r.object(|r, key| match field_name(key, &["clientIP"]) {
        Some(_) => r.object(|r, key| match field_name(key, &["timeoutSeconds"]) {
            Some(_) => {
                *timeout_secs = r.uint()?;
                Ok(())
            }
            None => r.skip(),
        }),
        None => r.skip(),
    })
}

// === impl Raw ===

impl Raw {
    fn check(self, key_name: &str) -> Read<ServiceExport> {
        let cluster = ClusterName::try_new(&self.cluster).map_err(|e| Fault::at("cluster", e))?;
        let name = ServiceName::try_new(&self.namespace, &self.name).map_err(|e| Fault::at("name", e))?;
        if name.to_string() != key_name {
            return Err(Fault::at("name", Broken::KeyMismatch { value: name.to_string(), key: key_name.to_owned() }));
        }
        let created = self.created.parse::<Timestamp>().ok().filter(|t| t.as_second() > 0);
        let word = |field, word: &str, known: &[&str]| match known.contains(&word) {
            true => Ok(()),
            false => Err(Fault::at(field, Broken::Word(word.to_owned()))),
        };
        word("type", &self.kind, &["ClusterSetIP", "Headless"])?;
        word("sessionAffinity", &self.affinity, &["None", "ClientIP"])?;
        word("internalTrafficPolicy", &self.internal_traffic_policy, &["", "Cluster", "Local"])?;
        let distributions = ["", "PreferClose", "PreferSameZone", "PreferSameNode"];
        word("trafficDistribution", &self.traffic_distribution, &distributions)?;
        let first = |new: BTreeMap<_, _>, old| if new.is_empty() { old } else { new };
        Ok(ServiceExport {
            cluster,
            name,
            annotations: first(self.annotations, self.old_annotations),
            labels: first(self.labels, self.old_labels),
            created: created.ok_or_else(|| Fault::at("exportCreationTimestamp", Broken::Time(self.created)))?,
            ports: self.ports,
            headless: self.kind == "Headless",
            session_affinity: match self.affinity.as_str() {
                "ClientIP" => SessionAffinity::ClientIp { timeout_secs: self.timeout_secs },
                _ => SessionAffinity::None,
            },
            ip_families: self.ip_families,
            internal_traffic_policy: self.internal_traffic_policy,
            traffic_distribution: self.traffic_distribution,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#""cluster":"east","name":"s","namespace":"ns","exportCreationTimestamp":"2026-01-02T03:04:05Z","type":"ClusterSetIP","sessionAffinity":"None""#;

    #[test]
    fn old_writers_have_capital_labels_only() {
        let value = format!(r#"{{{BASE},"Labels":{{"a":"1"}},"ports":[{{"port":80}}]}}"#);
        let export = decode("k", "ns/s", value.as_bytes()).unwrap();
        assert_eq!(export.labels.get("a").map(String::as_str), Some("1"));
        let value = format!(r#"{{{BASE},"Labels":{{"a":"1"}},"labels":{{"a":"2"}}}}"#);
        assert_eq!(decode("k", "ns/s", value.as_bytes()).unwrap().labels.get("a").map(String::as_str), Some("2"));
    }

    #[test]
    fn words_are_checked() {
        fn check(rest: &str, accepted: bool) {
            let value = format!("{{{BASE}{rest}}}");
            assert_eq!(decode("k", "ns/s", value.as_bytes()).is_ok(), accepted, "{rest}");
        }
        check("", true);
        check(r#","type":"ExternalName""#, false);
        check(r#","sessionAffinity":"""#, false);
        check(r#","internalTrafficPolicy":"Far""#, false);
        check(r#","trafficDistribution":"PreferClose""#, true);
        check(r#","trafficDistribution":"Prefer""#, false);
        check(r#","exportCreationTimestamp":null"#, true);
        check(r#","exportCreationTimestamp":"""#, false);
        check(r#","exportCreationTimestamp":"0001-01-01T00:00:00Z""#, false);
        check(r#","name":"t""#, false);
    }
}
