//! `state/endpointslices/v1/<cluster>/<namespace>/<slice>`: a zstd frame around a protobuf message.

mod proto;

use std::net::IpAddr;

use model::{ClusterId, ClusterName, EndpointSlice, ServiceName, SliceEndpoint, SlicePort};
use prost::Message as _;

use crate::{
    Broken, DecodeError, Source,
    error::{Fault, Read},
    key::Resource,
    zstd_frame,
};

/// Kubernetes keeps a slice at 1,000 endpoints of a few hundred bytes each.
pub const MAX_DECODED: usize = 4 * 1024 * 1024;

const IPV4: &str = "IPv4";
const IPV6: &str = "IPv6";

pub fn prefix(source: Source<'_>, cluster: &ClusterName) -> String {
    format!("{}/{cluster}/", source.base(Resource::EndpointSlices))
}

pub fn key(cluster: &ClusterName, name: &ServiceName) -> String {
    format!("{}{name}", prefix(Source::State, cluster))
}

/// Frames of equal slices are equal; those of other writers compress otherwise.
pub fn encode(slice: &EndpointSlice) -> Vec<u8> {
    zstd_frame::compress(&message(slice).encode_to_vec())
}

/// What is inside the frame: equal to what Cilium puts there for the same slice.
pub fn encode_message(slice: &EndpointSlice) -> Vec<u8> {
    message(slice).encode_to_vec()
}

fn message(slice: &EndpointSlice) -> proto::Slice {
    let endpoint = |endpoint: &SliceEndpoint| proto::Endpoint {
        addresses: endpoint.addresses.iter().map(IpAddr::to_string).collect(),
        conditions: proto::Conditions {
            ready: endpoint.ready,
            serving: endpoint.serving,
            terminating: endpoint.terminating,
        },
        hostname: endpoint.hostname.clone(),
        node_name: endpoint.node.clone(),
        zone: endpoint.zone.clone(),
        hints: endpoint.for_zones.as_ref().map(|zones| proto::Hints {
            for_zones: zones.iter().map(|name| proto::ForZone { name: name.clone() }).collect(),
        }),
    };
    let port = |port: &SlicePort| proto::Port {
        name: port.name.clone(),
        protocol: port.proto.map(|proto| proto.to_string()),
        port: port.port.map(i32::from),
        app_protocol: port.app_protocol.clone(),
    };
    proto::Slice {
        cluster: slice.cluster.to_string(),
        cluster_id: slice.cluster_id.get(),
        namespace: slice.name.namespace().to_owned(),
        name: slice.name.name().to_owned(),
        labels: slice.labels.clone(),
        annotations: slice.annotations.clone(),
        address_type: if slice.ipv4 { IPV4 } else { IPV6 }.to_owned(),
        endpoints: slice.endpoints.iter().map(endpoint).collect(),
        ports: slice.ports.iter().map(port).collect(),
    }
}

/// `name` is the rest of the key after [`prefix`]: `<namespace>/<slice>`.
///
/// # Errors
/// Data that is no such frame or message, or larger than [`MAX_DECODED`]; names that are not those
/// of the key; an address type that is not IPv4 or IPv6; addresses, ports or protocols that are none.
pub fn decode(key: &str, name: &str, value: &[u8]) -> Result<EndpointSlice, DecodeError> {
    read(name, value).map_err(|fault| fault.of(key))
}

fn read(key_name: &str, value: &[u8]) -> Read<EndpointSlice> {
    let bytes = zstd_frame::decompress(value, MAX_DECODED)?;
    let slice =
        proto::Slice::decode(bytes.as_slice()).map_err(|error| Fault::new(Broken::Protobuf(error.to_string())))?;
    let name = ServiceName::try_new(&slice.namespace, &slice.name).map_err(|e| Fault::at("name", e))?;
    if name.to_string() != key_name {
        return Err(Fault::at("name", Broken::KeyMismatch { value: name.to_string(), key: key_name.to_owned() }));
    }
    let ipv4 = match slice.address_type.as_str() {
        IPV4 => true,
        IPV6 => false,
        other => return Err(Fault::at("addressType", Broken::Word(other.to_owned()))),
    };
    let inside = |field, index| move |fault: Fault| fault.element(index).inside(field);
    let endpoints = slice.endpoints.into_iter().enumerate();
    let endpoints = endpoints.map(|(at, endpoint)| read_endpoint(endpoint, ipv4).map_err(inside("endpoints", at)));
    let ports = slice.ports.into_iter().enumerate();
    let ports = ports.map(|(at, port)| read_port(port).map_err(inside("ports", at)));
    Ok(EndpointSlice {
        cluster: ClusterName::try_new(&slice.cluster).map_err(|e| Fault::at("cluster", e))?,
        cluster_id: ClusterId::try_new(slice.cluster_id).map_err(|e| Fault::at("clusterID", e))?,
        name,
        labels: slice.labels,
        annotations: slice.annotations,
        ipv4,
        endpoints: endpoints.collect::<Read<_>>()?,
        ports: ports.collect::<Read<_>>()?,
    })
}

fn read_endpoint(endpoint: proto::Endpoint, ipv4: bool) -> Read<SliceEndpoint> {
    let address = |text: String| match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_ipv4() == ipv4 => Ok(ip),
        Ok(_) => Err(Fault::at("addresses", Broken::Family(if ipv4 { IPV4 } else { IPV6 }))),
        Err(_) => Err(Fault::at("addresses", Broken::Ip(text))),
    };
    let hints = endpoint.hints.map(|hints| hints.for_zones.into_iter().map(|zone| zone.name).collect());
    Ok(SliceEndpoint {
        addresses: endpoint.addresses.into_iter().map(address).collect::<Read<_>>()?,
        ready: endpoint.conditions.ready,
        serving: endpoint.conditions.serving,
        terminating: endpoint.conditions.terminating,
        hostname: endpoint.hostname,
        node: endpoint.node_name,
        zone: endpoint.zone,
        for_zones: hints,
    })
}

fn read_port(port: proto::Port) -> Read<SlicePort> {
    let proto = |text: String| text.parse().map_err(|_| Fault::at("protocol", Broken::Protocol(text)));
    let number = |number: i32| u16::try_from(number).map_err(|_| Fault::at("port", Broken::Number("u16")));
    Ok(SlicePort {
        name: port.name,
        proto: port.protocol.map(proto).transpose()?,
        port: port.port.map(number).transpose()?,
        app_protocol: port.app_protocol,
    })
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

    #[test]
    fn each_rule_is_named_with_its_field() {
        fn check(change: impl Fn(&mut proto::Slice), expect: &str) {
            let endpoint = proto::Endpoint { addresses: vec!["10.2.0.1".to_owned()], ..proto::Endpoint::default() };
            let port = proto::Port { port: Some(80), protocol: Some("TCP".to_owned()), ..proto::Port::default() };
            let mut slice = proto::Slice {
                cluster: "west".to_owned(),
                cluster_id: 2,
                namespace: "ns".to_owned(),
                name: "s".to_owned(),
                address_type: IPV4.to_owned(),
                endpoints: vec![endpoint],
                ports: vec![port],
                ..proto::Slice::default()
            };
            change(&mut slice);
            let value = zstd_frame::compress(&slice.encode_to_vec());
            let got = decode("k", "ns/s", &value);
            if let Ok(slice) = &got {
                assert_eq!(decode("k", "ns/s", &encode(slice)), got);
            }
            assert_eq!(got.map_or_else(|error| error.to_string(), |_| "ok".to_owned()), expect);
        }
        check(|_| {}, "ok");
        check(|slice| slice.name = "t".to_owned(), r#"k: name: says "ns/t", but the key says "ns/s""#);
        check(|slice| slice.address_type = "FQDN".to_owned(), r#"k: addressType: "FQDN" is not allowed here"#);
        check(|slice| slice.address_type = IPV6.to_owned(), "k: endpoints[0].addresses: IPv6 is needed here");
        let address =
            |text: &'static str| move |slice: &mut proto::Slice| slice.endpoints[0].addresses = vec![text.to_owned()];
        check(address("x"), r#"k: endpoints[0].addresses: "x" is not an IP address"#);
        check(address("fe80::1%eth0"), r#"k: endpoints[0].addresses: "fe80::1%eth0" is not an IP address"#);
        check(|slice| slice.ports[0].port = Some(65_536), "k: ports[0].port: number does not fit in u16");
        check(|slice| slice.ports[0].protocol = None, "ok");
        check(
            |slice| slice.ports[0].protocol = Some("X".to_owned()),
            r#"k: ports[0].protocol: "X" is none of TCP, UDP, SCTP, ICMP, ICMPv6, ANY"#,
        );
        check(|slice| slice.cluster_id = 512, "k: clusterID: ClusterID 512 is not supported: at most 511");
    }
}
