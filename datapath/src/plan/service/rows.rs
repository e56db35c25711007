//! The rows of services as bytes, and back for numbers.

use crate::{
    MapId,
    addr::{Address, addr4, addr6},
    kernel::Pair,
    plan::Op,
};
use ebpf_abi::{Addr4, Addr6, Backend, Plain, ReverseNat, Service4Key, Service6Key, ServiceEntry, ServiceKey};
use model::{L3n4Addr, Protocol};
use std::{collections::BTreeMap, net::IpAddr};

/// The six maps in writer order.
pub const MAPS: [MapId; 6] =
    [MapId::Backends4, MapId::Backends6, MapId::ReverseNat4, MapId::ReverseNat6, MapId::Services4, MapId::Services6];

pub(super) fn backend(addr: L3n4Addr, id: u32, state: u8) -> Op {
    let (port, proto) = (addr.port.to_be(), addr.proto.number());
    let (map, value) = match addr.ip {
        IpAddr::V4(ip) => (MapId::Backends4, Backend { addr: addr4(ip), port, proto, state }.as_bytes().to_vec()),
        IpAddr::V6(ip) => (MapId::Backends6, Backend { addr: addr6(ip), port, proto, state }.as_bytes().to_vec()),
    };
    Op::Update { map, key: id.as_bytes().to_vec(), value }
}

pub(super) fn delete_backend(addr: L3n4Addr, id: u32) -> Op {
    let map = if addr.ip.is_ipv4() { MapId::Backends4 } else { MapId::Backends6 };
    Op::Delete { map, key: id.as_bytes().to_vec() }
}

pub(super) fn reverse(addr: L3n4Addr, number: u16) -> Op {
    let port = addr.port.to_be();
    let (map, value) = match addr.ip {
        IpAddr::V4(ip) => (MapId::ReverseNat4, ReverseNat { addr: addr4(ip), port, pad: 0 }.as_bytes().to_vec()),
        IpAddr::V6(ip) => (MapId::ReverseNat6, ReverseNat { addr: addr6(ip), port, pad: 0 }.as_bytes().to_vec()),
    };
    Op::Update { map, key: number.as_bytes().to_vec(), value }
}

pub(super) fn delete_reverse(addr: L3n4Addr, number: u16) -> Op {
    let map = if addr.ip.is_ipv4() { MapId::ReverseNat4 } else { MapId::ReverseNat6 };
    Op::Delete { map, key: number.as_bytes().to_vec() }
}

/// "This address is a ClusterIP."
pub(super) fn address(ip: IpAddr) -> Op {
    let (map, key) = key(ip, 0, 0, 0);
    Op::Update { map, key, value: ServiceEntry::default().as_bytes().to_vec() }
}

pub(super) fn delete_address(ip: IpAddr) -> Op {
    let (map, key) = key(ip, 0, 0, 0);
    Op::Delete { map, key }
}

pub(super) fn master(addr: L3n4Addr, count: usize, number: u16) -> Op {
    let (map, key) = key(addr.ip, addr.port, addr.proto.number(), 0);
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    let entry = ServiceEntry { count, rev_nat: number, ..ServiceEntry::default() };
    Op::Update { map, key, value: entry.as_bytes().to_vec() }
}

pub(super) fn slot(addr: L3n4Addr, slot: usize, backend_id: u32) -> Op {
    let (map, key) = slot_key(addr, slot);
    Op::Update { map, key, value: ServiceEntry { backend_id, ..ServiceEntry::default() }.as_bytes().to_vec() }
}

/// Slot 0 is the frontend.
pub(super) fn delete_slot(addr: L3n4Addr, slot: usize) -> Op {
    let (map, key) = slot_key(addr, slot);
    Op::Delete { map, key }
}

fn slot_key(addr: L3n4Addr, slot: usize) -> (MapId, Vec<u8>) {
    key(addr.ip, addr.port, addr.proto.number(), u16::try_from(slot).unwrap_or(u16::MAX))
}

fn key(ip: IpAddr, port: u16, proto: u8, slot: u16) -> (MapId, Vec<u8>) {
    let port = port.to_be();
    match ip {
        IpAddr::V4(ip) => {
            (MapId::Services4, ServiceKey { addr: addr4(ip), port, slot, proto, scope: 0, pad: 0 }.as_bytes().to_vec())
        }
        IpAddr::V6(ip) => {
            (MapId::Services6, ServiceKey { addr: addr6(ip), port, slot, proto, scope: 0, pad: 0 }.as_bytes().to_vec())
        }
    }
}

/// Whether a key of a service map is a frontend or an address, not a slot.
fn is_frontend(op: &Op) -> bool {
    let (Op::Update { map, key, .. } | Op::Delete { map, key }) = op else { return false };
    match map {
        MapId::Services4 => Service4Key::from_bytes(key).is_some_and(|key| key.slot == 0),
        MapId::Services6 => Service6Key::from_bytes(key).is_some_and(|key| key.slot == 0),
        _ => false,
    }
}

pub(super) fn frontends_last(ops: &mut [Op]) {
    ops.sort_by_key(is_frontend);
}

pub(super) fn frontends_first(ops: &mut [Op]) {
    ops.sort_by_key(|op| !is_frontend(op));
}

/// Frontends and their numbers.
pub(super) fn service_numbers(dumps: &BTreeMap<MapId, Vec<Pair>>) -> Vec<(L3n4Addr, u16)> {
    let mut found = Vec::new();
    let mut add = |addr: IpAddr, port: u16, proto: u8, slot: u16, entry: &[u8]| {
        if let (0, Some(proto), Some(entry)) = (slot, Protocol::from_number(proto), ServiceEntry::from_bytes(entry)) {
            found.push((L3n4Addr::new(addr, u16::from_be(port), proto), entry.rev_nat));
        }
    };
    for (key, value) in dumps.get(&MapId::Services4).into_iter().flatten() {
        if let Some(key) = Service4Key::from_bytes(key) {
            add(key.addr.ip(), key.port, key.proto, key.slot, value);
        }
    }
    for (key, value) in dumps.get(&MapId::Services6).into_iter().flatten() {
        if let Some(key) = Service6Key::from_bytes(key) {
            add(key.addr.ip(), key.port, key.proto, key.slot, value);
        }
    }
    found
}

/// Backends and their numbers.
pub(super) fn backend_numbers(dumps: &BTreeMap<MapId, Vec<Pair>>) -> Vec<(L3n4Addr, u32)> {
    fn each<A: Address>(pairs: Option<&Vec<Pair>>) -> impl Iterator<Item = (L3n4Addr, u32)>
    where
        Backend<A>: Plain,
    {
        pairs.into_iter().flatten().filter_map(|(key, value)| {
            let backend = Backend::<A>::from_bytes(value)?;
            let proto = Protocol::from_number(backend.proto)?;
            Some((L3n4Addr::new(backend.addr.ip(), u16::from_be(backend.port), proto), u32::from_bytes(key)?))
        })
    }
    each::<Addr4>(dumps.get(&MapId::Backends4)).chain(each::<Addr6>(dumps.get(&MapId::Backends6))).collect()
}
