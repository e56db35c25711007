//! One row of a map in words, whatever the map.

use crate::{
    MapId,
    addr::{Address, ip4},
    journal::Seen,
};
use ebpf_abi::{
    Addr4, Addr6, Backend, BackendState, CtEntry, CtKey, CtScope, Endpoint, EndpointFlags, IpcacheEntry, LpmKey, Plain,
    PolicyEntry, PolicyLpmKey, ReverseNat, ServiceEntry, ServiceKey,
};
use model::{L3n4Addr, NumericIdentity, Prefix, Protocol};
use std::net::SocketAddr;

/// Key and value; bytes in hexadecimal where they are not understood. No value: a deleted row's.
pub(crate) fn row(map: MapId, key: &[u8], value: Option<&[u8]>) -> (String, String) {
    let told = match map {
        MapId::Ipcache4 | MapId::Endpoints4 => address::<Addr4>(key),
        MapId::Ipcache6 | MapId::Endpoints6 => address::<Addr6>(key),
        MapId::IpcacheLpm4 => cidr::<Addr4>(key),
        MapId::IpcacheLpm6 => cidr::<Addr6>(key),
        MapId::Services4 => service::<Addr4>(key),
        MapId::Services6 => service::<Addr6>(key),
        MapId::Ct4 => flow::<Addr4>(key),
        MapId::Ct6 => flow::<Addr6>(key),
        MapId::PolicySet(set) => policy(set, key),
        MapId::Backends4 | MapId::Backends6 | MapId::Ifaces | MapId::Policy => {
            u32::from_bytes(key).map(|number| number.to_string())
        }
        MapId::ReverseNat4 | MapId::ReverseNat6 => u16::from_bytes(key).map(|number| number.to_string()),
        MapId::Metrics | MapId::Config => None,
    };
    let value = value.map(|value| value_of(map, value).unwrap_or_else(|| hex(value)));
    (told.unwrap_or_else(|| hex(key)), value.unwrap_or_default())
}

/// What a row is about, for those who wait for it.
pub(crate) fn seen(map: MapId, key: &[u8], value: Option<&[u8]>) -> Option<Seen> {
    fn exact<A: Address>(key: &[u8]) -> Option<Seen> {
        Some(Seen::Prefix(Prefix::host(A::from_bytes(key)?.ip())))
    }
    fn covering<A: Address>(key: &[u8]) -> Option<Seen>
    where
        LpmKey<A>: Plain,
    {
        let key = LpmKey::<A>::from_bytes(key)?;
        Some(Seen::Prefix(Prefix::try_new(key.addr.ip(), u8::try_from(key.prefix_len).ok()?).ok()?))
    }
    fn at<A: Address>(value: &[u8]) -> Option<Seen>
    where
        Backend<A>: Plain,
    {
        let backend = Backend::<A>::from_bytes(value)?;
        let proto = Protocol::from_number(backend.proto)?;
        Some(Seen::Backend(L3n4Addr::new(backend.addr.ip(), u16::from_be(backend.port), proto)))
    }
    match map {
        MapId::Ipcache4 => exact::<Addr4>(key),
        MapId::Ipcache6 => exact::<Addr6>(key),
        MapId::IpcacheLpm4 => covering::<Addr4>(key),
        MapId::IpcacheLpm6 => covering::<Addr6>(key),
        MapId::PolicySet(_) => {
            PolicyLpmKey::from_bytes(key).map(|key| Seen::Identity(NumericIdentity::new(key.key.identity)))
        }
        MapId::Backends4 => at::<Addr4>(value?),
        MapId::Backends6 => at::<Addr6>(value?),
        _ => None,
    }
}

fn value_of(map: MapId, value: &[u8]) -> Option<String> {
    Some(match map {
        MapId::Ipcache4 | MapId::Ipcache6 | MapId::IpcacheLpm4 | MapId::IpcacheLpm6 => {
            let entry = IpcacheEntry::from_bytes(value)?;
            format!("identity={} encryptkey={} tunnelendpoint={}", entry.identity, entry.key, ip4(entry.tunnel))
        }
        MapId::Endpoints4 | MapId::Endpoints6 | MapId::Ifaces => {
            let entry = Endpoint::from_bytes(value)?;
            let locked = if entry.flags & EndpointFlags::LOCKDOWN != 0 { " locked-down" } else { "" };
            format!("id={} identity={} ifindex={}{locked}", entry.id, entry.identity, entry.ifindex)
        }
        MapId::PolicySet(_) => {
            let entry = PolicyEntry::from_bytes(value)?;
            let verdict = if entry.is_deny() { "deny" } else { "allow" };
            format!("{verdict} precedence={:#x} l4-prefix={}", entry.precedence, entry.l4_prefix())
        }
        MapId::Services4 | MapId::Services6 => {
            let entry = ServiceEntry::from_bytes(value)?;
            format!("backend={} count={} revnat={}", entry.backend_id, entry.count, entry.rev_nat)
        }
        MapId::Backends4 => backend::<Addr4>(value)?,
        MapId::Backends6 => backend::<Addr6>(value)?,
        MapId::ReverseNat4 => reverse::<Addr4>(value)?,
        MapId::ReverseNat6 => reverse::<Addr6>(value)?,
        MapId::Ct4 | MapId::Ct6 => {
            let entry = CtEntry::from_bytes(value)?;
            let (packets, bytes, source) = (entry.packets, entry.bytes, entry.src_identity);
            format!("packets={packets} bytes={bytes} source-identity={source} revnat={}", entry.rev_nat)
        }
        MapId::Policy => format!("map-id={}", u32::from_bytes(value)?),
        MapId::Metrics | MapId::Config => return None,
    })
}

fn address<A: Address>(key: &[u8]) -> Option<String> {
    Some(A::from_bytes(key)?.ip().to_string())
}

fn cidr<A: Address>(key: &[u8]) -> Option<String>
where
    LpmKey<A>: Plain,
{
    let key = LpmKey::<A>::from_bytes(key)?;
    Some(format!("{}/{}", key.addr.ip(), key.prefix_len))
}

fn service<A: Address>(key: &[u8]) -> Option<String>
where
    ServiceKey<A>: Plain,
{
    let key = ServiceKey::<A>::from_bytes(key)?;
    let at = SocketAddr::new(key.addr.ip(), u16::from_be(key.port));
    Some(format!("{at}/{} slot={}", protocol(key.proto), key.slot))
}

fn flow<A: Address>(key: &[u8]) -> Option<String>
where
    CtKey<A>: Plain,
{
    let key = CtKey::<A>::from_bytes(key)?;
    let scope = match key.scope {
        CtScope::IN => "IN",
        CtScope::SERVICE => "SVC",
        _ => "OUT",
    };
    let source = SocketAddr::new(key.saddr.ip(), u16::from_be(key.sport));
    let destination = SocketAddr::new(key.daddr.ip(), u16::from_be(key.dport));
    Some(format!("{} {scope} {source} -> {destination}", protocol(key.proto)))
}

fn policy(set: u32, key: &[u8]) -> Option<String> {
    let PolicyLpmKey { key, .. } = PolicyLpmKey::from_bytes(key)?;
    let direction = if key.egress == 1 { "egress" } else { "ingress" };
    let port = u16::from_be(key.dport);
    Some(format!("set={set} {direction} identity={} port={port}/{}", key.identity, protocol(key.proto)))
}

fn backend<A: Address>(value: &[u8]) -> Option<String>
where
    Backend<A>: Plain,
{
    let backend = Backend::<A>::from_bytes(value)?;
    let at = SocketAddr::new(backend.addr.ip(), u16::from_be(backend.port));
    let state = if backend.state == BackendState::ACTIVE { "active" } else { "terminating" };
    Some(format!("{at}/{} {state}", protocol(backend.proto)))
}

fn reverse<A: Address>(value: &[u8]) -> Option<String>
where
    ReverseNat<A>: Plain,
{
    let row = ReverseNat::<A>::from_bytes(value)?;
    Some(SocketAddr::new(row.addr.ip(), u16::from_be(row.port)).to_string())
}

fn protocol(number: u8) -> String {
    Protocol::from_number(number).map_or_else(|| number.to_string(), |protocol| protocol.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_in_words_and_odd_ones_in_bytes() {
        let entry =
            IpcacheEntry { identity: 70_001, ..IpcacheEntry::from_bytes(&[0; size_of::<IpcacheEntry>()]).unwrap() };
        let (key, value) = row(MapId::Ipcache4, &[10, 1, 2, 3], Some(entry.as_bytes()));
        assert_eq!((key.as_str(), value.as_str()), ("10.1.2.3", "identity=70001 encryptkey=0 tunnelendpoint=0.0.0.0"));
        assert_eq!(row(MapId::Ipcache4, &[10, 1], None), ("0a01".to_owned(), String::new()));
        assert_eq!(row(MapId::Ipcache4, &[10, 1, 2, 3], Some(&[1])).1, "01");
    }
}
