//! ipcache rows: hosts into the hashes, CIDRs into the tries.

use crate::{
    MapId,
    addr::{addr4, addr6},
    plan::Op,
};
use ebpf_abi::{IpcacheEntry, LpmKey, Plain};
use model::Prefix;
use std::net::IpAddr;
use tables::IpcacheRow;

/// The four maps.
pub const MAPS: [MapId; 4] = [MapId::Ipcache4, MapId::Ipcache6, MapId::IpcacheLpm4, MapId::IpcacheLpm6];

/// Where a prefix stands.
#[must_use]
pub fn locate(prefix: Prefix) -> (MapId, Vec<u8>) {
    let prefix_len = u32::from(prefix.bits());
    match (prefix.addr(), prefix.is_host()) {
        (IpAddr::V4(ip), true) => (MapId::Ipcache4, addr4(ip).as_bytes().to_vec()),
        (IpAddr::V6(ip), true) => (MapId::Ipcache6, addr6(ip).as_bytes().to_vec()),
        (IpAddr::V4(ip), false) => (MapId::IpcacheLpm4, LpmKey { prefix_len, addr: addr4(ip) }.as_bytes().to_vec()),
        (IpAddr::V6(ip), false) => (MapId::IpcacheLpm6, LpmKey { prefix_len, addr: addr6(ip) }.as_bytes().to_vec()),
    }
}

/// What stands there. The underlay is IPv4: an IPv6 tunnel endpoint cannot be reached and counts as none.
#[must_use]
pub fn entry(row: &IpcacheRow) -> IpcacheEntry {
    let tunnel = match row.tunnel_endpoint {
        Some(IpAddr::V4(node)) => addr4(node),
        _ => 0,
    };
    IpcacheEntry { identity: row.identity.get(), tunnel, key: row.encrypt_key, flags: 0, pad: 0 }
}

#[must_use]
pub fn upsert(row: &IpcacheRow) -> Op {
    let (map, key) = locate(row.prefix);
    Op::Update { map, key, value: entry(row).as_bytes().to_vec() }
}

#[must_use]
pub fn delete(prefix: Prefix) -> Op {
    let (map, key) = locate(prefix);
    Op::Delete { map, key }
}
