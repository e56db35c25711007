//! Endpoint rows: one value under the interface and under each address.

use crate::{
    MapId,
    addr::{addr4, addr6},
    plan::Rows,
};
use ebpf_abi::{Endpoint as Value, EndpointFlags, Plain};
use std::collections::BTreeMap;
use tables::Endpoint;

/// The three maps.
pub const MAPS: [MapId; 3] = [MapId::Ifaces, MapId::Endpoints4, MapId::Endpoints6];

/// The kernel rows of an endpoint that runs under `identity`.
#[must_use]
pub fn rows(endpoint: &Endpoint, identity: u32, lockdown: bool) -> Vec<(MapId, Vec<u8>, Vec<u8>)> {
    let mut macs = [0; 12];
    macs[..6].copy_from_slice(&endpoint.mac.0);
    macs[6..].copy_from_slice(&endpoint.host_mac.0);
    let value = Value {
        ifindex: endpoint.host_ifindex,
        identity,
        id: endpoint.id.0,
        flags: if lockdown { EndpointFlags::LOCKDOWN } else { 0 },
        macs: words(macs),
        addr4: endpoint.ipv4.map_or(0, addr4),
        addr6: endpoint.ipv6.map_or([0; 4], addr6),
    };
    let value = value.as_bytes().to_vec();
    let mut rows = vec![(MapId::Ifaces, endpoint.host_ifindex.as_bytes().to_vec(), value.clone())];
    if let Some(ip) = endpoint.ipv4 {
        rows.push((MapId::Endpoints4, addr4(ip).as_bytes().to_vec(), value.clone()));
    }
    if let Some(ip) = endpoint.ipv6 {
        rows.push((MapId::Endpoints6, addr6(ip).as_bytes().to_vec(), value));
    }
    rows
}

/// The whole content of the three maps.
pub fn wanted<'a>(endpoints: impl Iterator<Item = (&'a Endpoint, u32, bool)>) -> BTreeMap<MapId, Rows> {
    let mut wanted: BTreeMap<MapId, Rows> = MAPS.into_iter().map(|map| (map, Rows::new())).collect();
    for (endpoint, identity, lockdown) in endpoints {
        for (map, key, value) in rows(endpoint, identity, lockdown) {
            wanted.entry(map).or_default().insert(key, value);
        }
    }
    wanted
}

/// Bytes as the words that the programs copy.
fn words(bytes: [u8; 12]) -> [u32; 3] {
    let mut words = [0; 3];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    words
}
