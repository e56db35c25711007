//! What we write, we read back equal; what others write never makes us panic.

use std::{collections::BTreeMap, net::IpAddr};

use model::{
    AddressKind, ClusterId, GlobalService, IpEntry, IpNames, NamedPort, Node, NodeAddress, NumericIdentity, PortMap,
    PortProto, Prefix, Protocol, Source as Origin, ZoneHints,
};
use proptest::{collection::btree_map, collection::vec, option, prelude::*};
use wire::{ip, node, service};

fn addr() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
        .prop_map(|ip| ip.to_canonical())
}

fn prefix(v4: bool) -> impl Strategy<Value = Prefix> {
    (any::<u128>(), 0u8..=128).prop_filter_map("family", move |(bits, len)| {
        let ip: IpAddr = if v4 { IpAddr::V4((bits as u32).into()) } else { IpAddr::V6(bits.into()) };
        Prefix::try_new(ip, if v4 { len % 33 } else { len }).ok().filter(|p| p.is_ipv4() == v4)
    })
}

fn strings() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(".{0,6}", ".{0,6}", 0..3)
}

fn proto() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)]
}

prop_compose! {
    fn ip_entry()(
        prefix in prop_oneof![prefix(true), prefix(false)], host in option::of(addr()), id in any::<u32>(), key in any::<u8>(),
        texts in [".{0,8}", ".{0,8}", ".{0,8}", ".{0,8}"], ports in vec((".{0,4}", any::<u16>(), proto()), 0..3),
    ) -> IpEntry {
        let mut entry = IpEntry::new(prefix, NumericIdentity::new(id));
        entry.host_ip = host;
        entry.key = key;
        let [metadata, namespace, pod_name, service_account] = texts.each_ref().map(String::as_str);
        entry.texts = IpNames { metadata, namespace, pod_name, service_account }.into();
        let ports = ports.into_iter().map(|(name, port, proto)| NamedPort { name: name.into(), port, proto });
        entry.named_ports = ports.collect::<Vec<_>>().into();
        entry
    }
}

prop_compose! {
    fn a_node()(
        addresses in vec((0usize..6, addr()), 0..4), v4 in vec(prefix(true), 0..3), v6 in vec(prefix(false), 0..3),
        ips in (option::of(any::<[u8; 4]>()), option::of(any::<u16>())), id in 0u32..=511, key in any::<u8>(),
        maps in [strings(), strings()], boot_id in ".{0,6}",
    ) -> Node {
        let mut node = Node::new("n".parse().unwrap(), "east".parse().unwrap(), ClusterId::try_new(id).unwrap());
        node.addresses =
            addresses.into_iter().map(|(k, ip)| NodeAddress { kind: AddressKind::ALL[k], ip }).collect();
        node.ipv4_alloc_cidr = v4.first().copied();
        node.ipv4_secondary_alloc_cidrs = v4;
        node.ipv6_alloc_cidr = v6.first().copied();
        node.ipv6_secondary_alloc_cidrs = v6;
        node.ipv4_health_ip = ips.0.map(Into::into);
        node.ipv6_ingress_ip = ips.1.map(|n| [0xfd00, 0, 0, 0, 0, 0, 0, n].into());
        node.encryption_key = key;
        [node.labels, node.annotations] = maps;
        node.boot_id = boot_id.into();
        node.source = Origin::Local;
        node
    }
}

prop_compose! {
    fn a_service()(
        frontends in btree_map(addr(), ports(), 0..3), backends in btree_map(addr(), ports(), 0..3),
        hostnames in btree_map(addr(), ".{0,4}", 0..3), zones in btree_map(addr(), (".{0,3}", vec(".{0,3}", 0..2)), 0..3),
        maps in [strings(), strings()], flags in any::<[bool; 2]>(), id in 0u32..=511,
    ) -> GlobalService {
        let name = "ns/s".parse().unwrap();
        let mut service = GlobalService::new("east".parse().unwrap(), ClusterId::try_new(id).unwrap(), name);
        (service.frontends, service.backends, service.hostnames) = (frontends, backends, hostnames);
        service.zones =
            zones.into_iter().map(|(ip, (zone, for_zones))| (ip, ZoneHints { zone, for_zones })).collect();
        [service.labels, service.selector] = maps;
        [service.include_external, service.shared] = flags;
        service
    }
}

fn ports() -> impl Strategy<Value = PortMap> {
    btree_map(".{0,3}", (any::<u16>(), proto()).prop_map(|(port, proto)| PortProto::new(port, proto)), 0..3)
}

proptest! {
    #[test]
    fn addresses(entry in ip_entry()) {
        prop_assert_eq!(ip::decode("k", &entry.prefix.to_string(), &ip::encode(&entry)), Ok(entry));
    }

    #[test]
    fn nodes(node in a_node()) {
        prop_assert_eq!(node::decode("k", "n", &node::encode(&node)), Ok(node));
    }

    #[test]
    fn services(service in a_service()) {
        prop_assert_eq!(service::decode("k", "ns/s", &service::encode(&service)), Ok(service));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..200)) {
        for (_, target) in wire::fuzz::TARGETS {
            target(&bytes);
        }
    }
}
