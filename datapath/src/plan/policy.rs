//! Policy rows: from protocol and port to prefixes.

use crate::{
    MapId,
    plan::{Op, Rows},
};
use ebpf_abi::{POLICY_FULL_PREFIX, POLICY_STATIC_PREFIX, Plain, PolicyEntry, PolicyKey as AbiKey, PolicyLpmKey};
use model::{Direction, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use tables::{PolicyKey, PolicyMapRow};

/// Bits of a protocol and of a port.
const PROTOCOL_BITS: u8 = 8;
const PORT_BITS: u8 = 16;

/// The kernel rows of one policy row: a port of any protocol is one row for each that has ports.
pub fn keys(key: &PolicyKey) -> impl Iterator<Item = (PolicyLpmKey, u8)> {
    let all: &[Protocol] = if key.port.proto == Protocol::Any && key.port.port != 0 {
        &[Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
    } else {
        std::slice::from_ref(&key.port.proto)
    };
    all.iter().map(|proto| {
        let l4 = match (*proto, key.port.port) {
            (Protocol::Any, _) => 0,
            (_, 0) => PROTOCOL_BITS,
            _ => PROTOCOL_BITS + PORT_BITS,
        };
        let prefix_len = POLICY_STATIC_PREFIX + u32::from(l4);
        debug_assert!(prefix_len <= POLICY_FULL_PREFIX);
        let key = AbiKey {
            identity: key.remote.get(),
            egress: u8::from(key.direction == Direction::Egress),
            proto: proto.number(),
            dport: key.port.port.to_be(),
        };
        (PolicyLpmKey { prefix_len, key }, l4)
    })
}

pub fn upserts(row: &PolicyMapRow) -> impl Iterator<Item = Op> {
    let map = MapId::PolicySet(row.key.set.get());
    rows(row).map(move |(key, value)| Op::Update { map, key, value })
}

pub fn deletes(key: &PolicyKey) -> impl Iterator<Item = Op> {
    let map = MapId::PolicySet(key.set.get());
    keys(key).map(move |(key, _)| Op::Delete { map, key: key.as_bytes().to_vec() })
}

fn rows(row: &PolicyMapRow) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let (precedence, deny) = (row.precedence, row.deny);
    keys(&row.key).map(move |(key, l4)| {
        let entry = PolicyEntry { precedence, proxy_port: 0, flags: PolicyEntry::flags(deny, l4), auth: 0, cookie: 0 };
        (key.as_bytes().to_vec(), entry.as_bytes().to_vec())
    })
}

/// The whole content of every set; `used` sets are there even when no row is in them, because an
/// empty set denies by policy and a missing one is a fault.
pub fn wanted<'a>(table: impl Iterator<Item = &'a PolicyMapRow>, used: &BTreeSet<u32>) -> BTreeMap<u32, Rows> {
    let mut sets: BTreeMap<u32, Rows> = used.iter().map(|set| (*set, Rows::new())).collect();
    for row in table {
        sets.entry(row.key.set.get()).or_default().extend(rows(row));
    }
    sets
}
