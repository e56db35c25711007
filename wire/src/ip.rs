//! `state/ip/v1/default/<address or CIDR>`: an address, its identity and its node.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use model::{IpEntry, IpNames, NamedPort, NumericIdentity, Prefix, Protocol};

use crate::{
    Broken, DecodeError, Source,
    error::{Fault, Read},
    ip_net,
    json::{Reader, Writer, field_name, next_field_name, parse},
    key::Resource,
};

/// The address space; never the cluster's name.
const SPACE: &str = "default";

/// Cilium writes some 300 bytes; a pod has few named ports. A million such values must stay bearable.
const MAX_VALUE: usize = 64 << 10;

const FIELDS: [&str; 10] =
    ["IP", "Mask", "HostIP", "ID", "Key", "Metadata", "K8sNamespace", "K8sPodName", "K8sServiceAccount", "NamedPorts"];

/// What to list and watch. A mirror has the cluster's name in place of the address space.
pub fn prefix(source: Source<'_>) -> String {
    let space = match source {
        Source::State => SPACE,
        Source::Cache(cluster) => cluster.as_str(),
    };
    format!("{}/{space}/", source.base(Resource::Ip))
}

/// `.../10.0.0.1`, or `.../10.0.0.0/16`.
pub fn key(prefix: Prefix) -> String {
    format!("{}{prefix}", self::prefix(Source::State))
}

/// `Metadata` as an agent writes it for an endpoint of its own.
pub fn endpoint_metadata(node: &model::NodeName, endpoint: model::EndpointId) -> String {
    format!("cilium-global:default:{node}:{endpoint}")
}

/// Named ports are written in their order: keep them sorted by name.
pub fn encode(entry: &IpEntry) -> Vec<u8> {
    Writer::document(|w| {
        w.name("IP").quoted(entry.prefix.addr());
        match entry.prefix.is_host() {
            true => w.name("Mask").null(),
            false => ip_net::write_mask(w.name("Mask"), entry.prefix),
        }
        w.name("HostIP").quoted_or_empty(entry.host_ip);
        w.name("ID").plain(entry.identity);
        w.name("Key").plain(entry.key);
        w.name("Metadata").string(entry.texts.metadata().unwrap_or_default());
        let texts = [
            ("K8sNamespace", entry.texts.namespace()),
            ("K8sPodName", entry.texts.pod_name()),
            ("K8sServiceAccount", entry.texts.service_account()),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                w.name(name).string(text);
            }
        }
        if !entry.named_ports.is_empty() {
            w.name("NamedPorts").array(&*entry.named_ports, |w, port| {
                w.object(|w| {
                    w.name("Name").string(&port.name);
                    w.name("Port").plain(port.port);
                    w.name("Protocol").string(port.proto.name());
                });
            });
        }
    })
}

/// `name` is the rest of the key after [`prefix`].
///
/// # Errors
/// Besides malformed values: the address and mask must print as `name`.
pub fn decode(key: &str, name: &str, value: &[u8]) -> Result<IpEntry, DecodeError> {
    let (size, limit) = (value.len(), MAX_VALUE);
    if size > limit {
        return Err(Fault::new(Broken::Size { size, limit }).of(key));
    }
    parse(value, |r| read(r, name)).map_err(|fault| fault.of(key))
}

fn read(r: &mut Reader<'_>, name: &str) -> Read<IpEntry> {
    let mut ip: Option<IpAddr> = None;
    let mut mask: Option<Vec<u8>> = None;
    let mut entry = IpEntry::new(Prefix::host(std::net::Ipv4Addr::UNSPECIFIED.into()), NumericIdentity::UNKNOWN);
    // Metadata, namespace, pod and service account.
    let mut texts: [Cow<'_, str>; 4] = Default::default();
    let mut named_ports = Vec::new();
    let mut next = 0;
    r.object(|r, key| {
        match next_field_name(key, &FIELDS, &mut next) {
            Some("IP") => ip = r.ip()?,
            Some("Mask") => mask = ip_net::read_mask(r)?,
            Some("HostIP") => entry.host_ip = r.ip()?,
            Some("ID") => entry.identity = r.uint()?.map_or(entry.identity, NumericIdentity::new),
            Some("Key") => entry.key = r.uint()?.unwrap_or(entry.key),
            Some("Metadata") => set(&mut texts[0], r.string()?),
            Some("K8sNamespace") => set(&mut texts[1], r.string()?),
            Some("K8sPodName") => set(&mut texts[2], r.string()?),
            Some("K8sServiceAccount") => set(&mut texts[3], r.string()?),
            Some("NamedPorts") => {
                named_ports.clear();
                r.array(|r| {
                    named_ports.push(read_named_port(r)?);
                    Ok(())
                })?;
            }
            _ => r.skip()?,
        }
        Ok(())
    })?;
    let ip = ip.ok_or_else(|| Fault::at("IP", Broken::Required))?;
    let bits = mask.map(|mask| ip_net::mask_bits(ip, &mask).map_err(|f| f.inside("Mask"))).transpose()?;
    let found = match bits {
        None => Prefix::host(ip),
        Some(bits) => Prefix::try_new(ip, bits).map_err(Fault::new)?,
    };
    let fits = match bits {
        None => prints_as(format_args!("{ip}"), name),
        Some(bits) => prints_as(format_args!("{ip}/{bits}"), name),
    };
    if !fits {
        let printed = bits.map_or_else(|| ip.to_string(), |bits| format!("{ip}/{bits}"));
        return Err(Fault::at("IP", Broken::KeyMismatch { value: printed, key: name.to_owned() }));
    }
    let [metadata, namespace, pod_name, service_account] = texts.each_ref().map(|text| &**text);
    entry.texts = IpNames { metadata, namespace, pod_name, service_account }.into();
    entry.named_ports = named_ports.into();
    entry.prefix = found;
    Ok(entry)
}

/// Whether something prints as `text`, found out without printing it into memory.
fn prints_as(value: std::fmt::Arguments<'_>, text: &str) -> bool {
    struct Rest<'a>(&'a str);
    impl std::fmt::Write for Rest<'_> {
        fn write_str(&mut self, piece: &str) -> std::fmt::Result {
            self.0 = self.0.strip_prefix(piece).ok_or(std::fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(text);
    std::fmt::write(&mut rest, value).is_ok() && rest.0.is_empty()
}

fn read_named_port(r: &mut Reader<'_>) -> Read<NamedPort> {
    let mut port = NamedPort { name: Arc::default(), port: 0, proto: Protocol::Any };
    r.object(|r, key| {
        match field_name(key, &["Name", "Port", "Protocol"]) {
            Some("Name") => port.name = r.string()?.map_or(port.name.clone(), |t| t.as_ref().into()),
            Some("Port") => port.port = r.uint()?.unwrap_or(port.port),
            Some("Protocol") => port.proto = read_protocol(r)?.unwrap_or(port.proto),
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(port)
}

pub(crate) fn read_protocol(r: &mut Reader<'_>) -> Read<Option<Protocol>> {
    let Some(text) = r.string()? else { return Ok(None) };
    // Absent in Cilium's own type means TCP nowhere: an empty protocol stays a wildcard.
    let protocol = if text.is_empty() { Ok(Protocol::Any) } else { text.parse() };
    protocol.map(Some).map_err(|_| Fault::new(Broken::Protocol(text.into_owned())))
}

/// `null` leaves the text.
fn set<'a>(slot: &mut Cow<'a, str>, text: Option<Cow<'a, str>>) {
    if let Some(text) = text {
        *slot = text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "10.2.0.10";

    fn check(name: &str, value: &str, accepted: bool) {
        let result = decode("cilium/state/ip/v1/default/x", name, value.as_bytes());
        assert_eq!(result.is_ok(), accepted, "{value}: {result:?}");
    }

    /// The forms that a stock 1.20.2 reader was seen to accept and to refuse.
    #[test]
    fn forms_are_accepted_as_by_cilium() {
        check(NAME, r#"{"IP":"10.2.0.10","ID":131300}"#, true);
        check(NAME, r#"{"IP":"10.2.0.10","ID":"131300"}"#, false);
        check(NAME, r#"{"IP":"10.2.0.10","ID":131300.0}"#, false);
        check(NAME, r#"{"IP":"10.2.0.10","ID":4294967296}"#, false);
        check(NAME, r#"{"IP":"10.2.0.10","Key":256}"#, false);
        check(NAME, r#"{"IP":"10.2.0.10","New":{"a":[1]}}"#, true);
        check(NAME, r#"{"ip":"10.2.0.10","hostip":"","MASK":null}"#, true);
        check(NAME, r#"{"IP":"10.2.0.11","IP":"10.2.0.10"}"#, true);
        check(NAME, r#"{"IP":"10.2.0.10","IP":"10.2.0.11"}"#, false);
        check(NAME, r#"{"IP":"::ffff:10.2.0.10"}"#, true);
        check(NAME, r#"{"IP":"10.2.0.010"}"#, false);
        check(NAME, "{\"IP\":\"10.2.0.10\"} \n", true);
        check(NAME, r#"{"IP":"10.2.0.10"}x"#, false);
        check(NAME, r#"{"IP":"10.2.0.10","Mask":""}"#, false);
        check("10.2.0.5/16", r#"{"IP":"10.2.0.5","Mask":"//8AAA=="}"#, true);
        check("10.2.0.0/16", r#"{"IP":"10.2.0.5","Mask":"//8AAA=="}"#, false);
        check("<nil>", r#"{"IP":""}"#, false);
        check(NAME, r#"{"IP":"10.2.0.10","HostIP":"none"}"#, false);
        check(NAME, "null", false);
        check(NAME, "", false);
    }

    #[test]
    fn the_error_names_key_field_and_rule() {
        let error = decode(
            "cilium/state/ip/v1/default/10.2.0.10",
            NAME,
            br#"{"IP":"10.2.0.10","NamedPorts":[{"Name":"a"},{"Port":70000}]}"#,
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "cilium/state/ip/v1/default/10.2.0.10: NamedPorts[1].Port: number does not fit in u16"
        );
    }

    #[test]
    fn host_bits_are_cleared_and_null_leaves_a_field() {
        let entry = decode("k", "10.2.0.5/16", br#"{"IP":"10.2.0.5","Mask":"//8AAA==","ID":7,"ID":null}"#).unwrap();
        assert_eq!(entry.prefix.to_string(), "10.2.0.0/16");
        assert_eq!(entry.identity, NumericIdentity::new(7));
    }

    #[test]
    fn paths() {
        let east = "east".parse().unwrap();
        assert_eq!(prefix(Source::Cache(&east)), "cilium/cache/ip/v1/east/");
        assert_eq!(key("10.20.0.0/16".parse().unwrap()), "cilium/state/ip/v1/default/10.20.0.0/16");
        assert_eq!(key("10.20.3.7".parse().unwrap()), "cilium/state/ip/v1/default/10.20.3.7");
    }
}
