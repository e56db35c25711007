//! `state/services/v1/<cluster>/<namespace>/<name>`: a cluster's share of a global service.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::Display,
    net::IpAddr,
};

use model::{ClusterId, ClusterName, GlobalService, PortMap, PortProto, Protocol, ServiceName, ZoneHints};

use crate::{
    Broken, DecodeError, Source,
    error::{Fault, Read},
    ip::read_protocol,
    json::{Reader, Writer, field_name, parse},
    key::Resource,
    node::text,
};

const FIELDS: [&str; 12] = [
    "cluster",
    "namespace",
    "name",
    "frontends",
    "backends",
    "hostnames",
    "zones",
    "labels",
    "selector",
    "includeExternal",
    "shared",
    "clusterID",
];

pub fn prefix(source: Source<'_>, cluster: &ClusterName) -> String {
    format!("{}/{cluster}/", source.base(Resource::Services))
}

pub fn key(cluster: &ClusterName, service: &ServiceName) -> String {
    format!("{}{service}", prefix(Source::State, cluster))
}

pub fn encode(service: &GlobalService) -> Vec<u8> {
    Writer::document(|w| {
        w.name("cluster").string(service.cluster.as_str());
        w.name("namespace").string(service.name.namespace());
        w.name("name").string(service.name.name());
        by_ip(w.name("frontends"), &service.frontends, write_ports);
        by_ip(w.name("backends"), &service.backends, write_ports);
        if !service.hostnames.is_empty() {
            by_ip(w.name("hostnames"), &service.hostnames, |w, hostname| w.string(hostname));
        }
        if !service.zones.is_empty() {
            by_ip(w.name("zones"), &service.zones, |w, hints| {
                w.object(|w| {
                    w.name("zone").string(&hints.zone);
                    if !hints.for_zones.is_empty() {
                        w.name("forZones").array(&hints.for_zones, |w, zone| {
                            w.object(|w| w.name("name").string(zone));
                        });
                    }
                });
            });
        }
        w.name("labels").string_map(&service.labels);
        w.name("selector").string_map(&service.selector);
        w.name("includeExternal").plain(service.include_external);
        w.name("shared").plain(service.shared);
        w.name("clusterID").plain(service.cluster_id);
    })
}

/// Go sorts the members of a map by their text, so `10.0.0.10` stands before `10.0.0.2`.
fn by_ip<K: Display, V>(w: &mut Writer, map: &BTreeMap<K, V>, mut write: impl FnMut(&mut Writer, &V)) {
    let mut members: Vec<(String, &V)> = map.iter().map(|(ip, value)| (ip.to_string(), value)).collect();
    members.sort_by(|a, b| a.0.cmp(&b.0));
    w.object(|w| {
        for (ip, value) in members {
            write(w.name(&ip), value);
        }
    });
}

fn write_ports(w: &mut Writer, ports: &PortMap) {
    w.object(|w| {
        for (name, port) in ports {
            w.name(name).object(|w| {
                w.name("Protocol").string(port.proto.name());
                w.name("Port").plain(port.port);
            });
        }
    });
}

/// `name` is the rest of the key after [`prefix`]: `<namespace>/<name>`. A cluster id of 0 passes:
/// whether it may be 0 depends on who reads.
///
/// # Errors
/// Besides malformed values: names must be there and those of the key, and every member of frontends
/// and backends an address. Hostnames and zones of what is no address are left out.
pub fn decode(key: &str, name: &str, value: &[u8]) -> Result<GlobalService, DecodeError> {
    parse(value, |r| read(r, name)).map_err(|fault| fault.of(key))
}

fn read(r: &mut Reader<'_>, key_name: &str) -> Read<GlobalService> {
    let (mut cluster, mut namespace, mut name) = (String::new(), String::new(), String::new());
    let mut id: u32 = 0;
    let (mut frontends, mut backends) = (BTreeMap::new(), BTreeMap::new());
    let (mut hostnames, mut zones) = (BTreeMap::new(), BTreeMap::new());
    let (mut labels, mut selector) = (BTreeMap::new(), BTreeMap::new());
    let (mut include_external, mut shared) = (false, false);
    r.object(|r, key| {
        match field_name(key, &FIELDS) {
            Some("cluster") => text(&mut cluster, r)?,
            Some("namespace") => text(&mut namespace, r)?,
            Some("name") => text(&mut name, r)?,
            Some("frontends") => read_endpoints(r, &mut frontends)?,
            Some("backends") => read_endpoints(r, &mut backends)?,
            Some("hostnames") => read_by_ip(r, &mut hostnames, |r| Ok(r.string()?.unwrap_or_default().into_owned()))?,
            Some("zones") => read_by_ip(r, &mut zones, read_hints)?,
            Some("labels") => r.string_map(&mut labels)?,
            Some("selector") => r.string_map(&mut selector)?,
            Some("includeExternal") => include_external = r.bool()?.unwrap_or(include_external),
            Some("shared") => shared = r.bool()?.unwrap_or(shared),
            Some("clusterID") => id = r.uint()?.unwrap_or(id),
            _ => r.skip()?,
        }
        Ok(())
    })?;
    let full = ServiceName::try_new(&namespace, &name).map_err(|e| Fault::at("name", e))?;
    if full.to_string() != key_name {
        return Err(Fault::at("name", Broken::KeyMismatch { value: full.to_string(), key: key_name.to_owned() }));
    }
    Ok(GlobalService {
        cluster: ClusterName::try_new(&cluster).map_err(|e| Fault::at("cluster", e))?,
        cluster_id: ClusterId::try_new(id).map_err(|e| Fault::at("clusterID", e))?,
        name: full,
        frontends,
        backends,
        hostnames,
        zones,
        labels,
        selector,
        include_external,
        shared,
    })
}

fn read_endpoints(r: &mut Reader<'_>, map: &mut BTreeMap<IpAddr, PortMap>) -> Read<()> {
    if r.null()? {
        map.clear();
        return Ok(());
    }
    r.object(|r, key| {
        let ip: IpAddr = key.parse().map_err(|_| Fault::new(Broken::Ip(key.to_owned())))?;
        let mut ports = PortMap::new();
        r.object(|r, name| {
            ports.insert(name.to_owned(), read_port(r)?);
            Ok(())
        })?;
        // Two spellings of one address are two members to Go, and one address to us.
        match map.entry(ip.to_canonical()) {
            Entry::Occupied(mut there) if there.key().to_string() != key => there.get_mut().extend(ports),
            Entry::Occupied(mut there) => drop(there.insert(ports)),
            Entry::Vacant(free) => drop(free.insert(ports)),
        }
        Ok(())
    })
}

fn read_port(r: &mut Reader<'_>) -> Read<PortProto> {
    let mut port = PortProto::new(0, Protocol::Any);
    r.object(|r, key| {
        match field_name(key, &["Protocol", "Port"]) {
            Some("Protocol") => port.proto = read_protocol(r)?.unwrap_or(port.proto),
            Some("Port") => port.port = r.uint()?.unwrap_or(port.port),
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(port)
}

fn read_by_ip<V>(
    r: &mut Reader<'_>,
    map: &mut BTreeMap<IpAddr, V>,
    mut read: impl FnMut(&mut Reader<'_>) -> Read<V>,
) -> Read<()> {
    if r.null()? {
        map.clear();
        return Ok(());
    }
    r.object(|r, key| {
        let value = read(r)?;
        if let Ok(ip) = key.parse::<IpAddr>() {
            map.insert(ip.to_canonical(), value);
        }
        Ok(())
    })
}

fn read_hints(r: &mut Reader<'_>) -> Read<ZoneHints> {
    let mut hints = ZoneHints::default();
    r.object(|r, key| {
        match field_name(key, &["zone", "forZones"]) {
            Some("zone") => text(&mut hints.zone, r)?,
            Some("forZones") => {
                hints.for_zones.clear();
                r.array(|r| {
                    let mut zone = String::new();
                    r.object(|r, key| match field_name(key, &["name"]) {
                        Some(_) => text(&mut zone, r),
                        None => r.skip(),
                    })?;
                    hints.for_zones.push(zone);
                    Ok(())
                })?;
            }
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(hints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_service_has_ciliums_empty_forms() {
        let service =
            GlobalService::new("east".parse().unwrap(), ClusterId::try_new(2).unwrap(), "ns/s".parse().unwrap());
        let expect = r#"{"cluster":"east","namespace":"ns","name":"s","frontends":{},"backends":{},"labels":{},"selector":{},"includeExternal":false,"shared":false,"clusterID":2}"#;
        assert_eq!(String::from_utf8(encode(&service)).unwrap(), expect);
    }

    #[test]
    fn addresses_are_sorted_as_text() {
        let mut service = GlobalService::new("e".parse().unwrap(), ClusterId::NONE, "ns/s".parse().unwrap());
        for ip in ["10.0.0.2", "10.0.0.10", "9.0.0.1"] {
            service.backends.insert(ip.parse().unwrap(), PortMap::new());
        }
        let text = String::from_utf8(encode(&service)).unwrap();
        assert!(text.contains(r#""backends":{"10.0.0.10":{},"10.0.0.2":{},"9.0.0.1":{}}"#), "{text}");
    }

    #[test]
    fn values_are_checked() {
        fn check(name: &str, rest: &str, accepted: bool) {
            let value = format!(r#"{{"cluster":"east","namespace":"ns","name":"s"{rest}}}"#);
            let result = decode("k", name, value.as_bytes());
            assert_eq!(result.is_ok(), accepted, "{value}: {result:?}");
        }
        check("ns/s", "", true);
        check("ns/t", "", false);
        check("ns/s", r#","cluster":"""#, false);
        check("ns/s", r#","frontends":{"x":{}}"#, false);
        check("ns/s", r#","backends":{"fe80::1%eth0":{}}"#, false);
        check("ns/s", r#","backends":{"10.0.0.1":null}"#, true);
        check("ns/s", r#","backends":{"10.0.0.1":{"":{"Protocol":"TCP","Port":65536}}}"#, false);
        check("ns/s", r#","zones":{"x":{"zone":"z"}}"#, true);
        check("ns/s", r#","labels":null,"clusterID":511"#, true);
        check("ns/s", r#","shared":"yes""#, false);
    }
}
