//! `state/endpointslices/v1/<cluster>/<namespace>/<slice>`: a zstd frame around a protobuf message.
//!
//! Read only: clusters that offer services alone are complete for readers of 1.18 to 1.20.

mod proto;

use std::{collections::BTreeMap, net::IpAddr};

use model::{ClusterId, ClusterName, Protocol, ServiceName};

use self::proto::{Field, Message};
use crate::{
    Broken, DecodeError, Source,
    error::{Fault, Read},
    key::Resource,
    zstd_frame,
};

/// Kubernetes keeps a slice at 1,000 endpoints of a few hundred bytes each.
pub const MAX_DECODED: usize = 4 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    pub cluster: ClusterName,
    pub cluster_id: ClusterId,
    /// The slice's own name; the service's is in the label `kubernetes.io/service-name`.
    pub name: ServiceName,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub endpoints: Vec<SliceEndpoint>,
    pub ports: Vec<SlicePort>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SliceEndpoint {
    pub addresses: Vec<IpAddr>,
    /// Absent means ready.
    pub ready: Option<bool>,
    pub serving: Option<bool>,
    pub terminating: Option<bool>,
    pub hostname: Option<String>,
    pub node: Option<String>,
    pub zone: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlicePort {
    pub name: String,
    pub proto: Protocol,
    pub port: u16,
}

pub fn prefix(source: Source<'_>, cluster: &ClusterName) -> String {
    format!("{}/{cluster}/", source.base(Resource::EndpointSlices))
}

/// `name` is the rest of the key after [`prefix`]: `<namespace>/<slice>`.
///
/// # Errors
/// Data that is no such frame or message, or larger than [`MAX_DECODED`]; names that are not those
/// of the key; addresses, ports or protocols that are none.
pub fn decode(key: &str, name: &str, value: &[u8]) -> Result<EndpointSlice, DecodeError> {
    read(name, value).map_err(|fault| fault.of(key))
}

fn read(key_name: &str, value: &[u8]) -> Read<EndpointSlice> {
    let bytes = zstd_frame::decompress(value, MAX_DECODED)?;
    let (mut cluster, mut namespace, mut name) = ("", "", "");
    let mut id = 0;
    let (mut labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
    let (mut endpoints, mut ports) = (Vec::new(), Vec::new());
    for field in Message(&bytes) {
        match field? {
            (1, field) => cluster = field.text()?,
            (2, field) => id = field.number()?,
            (3, field) => namespace = field.text()?,
            (4, field) => name = field.text()?,
            (5, field) => labels.extend([read_pair(field)?]),
            (6, field) => annotations.extend([read_pair(field)?]),
            (8, field) => endpoints.push(read_endpoint(field)?),
            (9, field) => ports.push(read_port(field)?),
            _ => {}
        }
    }
    let full = ServiceName::try_new(namespace, name).map_err(|e| Fault::at("name", e))?;
    if full.to_string() != key_name {
        return Err(Fault::at("name", Broken::KeyMismatch { value: full.to_string(), key: key_name.to_owned() }));
    }
    let id = u32::try_from(id).map_err(|_| Fault::at("clusterID", Broken::Number("u32")))?;
    Ok(EndpointSlice {
        cluster: ClusterName::try_new(cluster).map_err(|e| Fault::at("cluster", e))?,
        cluster_id: ClusterId::try_new(id).map_err(|e| Fault::at("clusterID", e))?,
        name: full,
        labels,
        annotations,
        endpoints,
        ports,
    })
}

fn read_pair(field: Field<'_>) -> Read<(String, String)> {
    let (mut key, mut value) = ("", "");
    for field in field.message()? {
        match field? {
            (1, field) => key = field.text()?,
            (2, field) => value = field.text()?,
            _ => {}
        }
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn read_endpoint(field: Field<'_>) -> Read<SliceEndpoint> {
    let mut endpoint = SliceEndpoint::default();
    for field in field.message()? {
        match field? {
            (1, field) => {
                let text = field.text()?;
                let ip: IpAddr = text.parse().map_err(|_| Fault::at("addresses", Broken::Ip(text.to_owned())))?;
                endpoint.addresses.push(ip.to_canonical());
            }
            (2, field) => {
                for field in field.message()? {
                    match field? {
                        (1, field) => endpoint.ready = Some(field.number()? != 0),
                        (2, field) => endpoint.serving = Some(field.number()? != 0),
                        (3, field) => endpoint.terminating = Some(field.number()? != 0),
                        _ => {}
                    }
                }
            }
            (3, field) => endpoint.hostname = Some(field.text()?.to_owned()),
            (6, field) => endpoint.node = Some(field.text()?.to_owned()),
            (7, field) => endpoint.zone = Some(field.text()?.to_owned()),
            _ => {}
        }
    }
    Ok(endpoint)
}

fn read_port(field: Field<'_>) -> Read<SlicePort> {
    let mut port = SlicePort::default();
    for field in field.message()? {
        match field? {
            (1, field) => port.name = field.text()?.to_owned(),
            (2, field) => {
                let text = field.text()?;
                port.proto = text.parse().map_err(|_| Fault::at("protocol", Broken::Word(text.to_owned())))?;
            }
            (3, field) => {
                port.port = u16::try_from(field.number()?).map_err(|_| Fault::at("port", Broken::Number("u16")))?;
            }
            _ => {}
        }
    }
    Ok(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_beyond_the_cap_is_refused() {
        // A frame of one RLE block: 4 bytes that stand for as many as the header says.
        let bomb = |window: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, window][..], &[0x03, 0xff, 0xff, b'x']].concat();
        assert!(matches!(
            decode("k", "ns/s", &bomb(0xff)).unwrap_err().broken,
            Broken::Size { limit: MAX_DECODED, .. }
        ));
        for bad in [&b""[..], b"x", &[0x28, 0xb5, 0x2f, 0xfd], &bomb(0)] {
            assert!(decode("k", "ns/s", bad).is_err());
        }
    }
}
