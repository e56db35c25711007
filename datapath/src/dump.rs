//! What the kernel holds, read from the maps alone: it works when no agent runs.
//!
//! `Pinned::new(bpf_root)` is the kernel to pass.

use crate::{
    MapId,
    addr::{Address, ip4},
    describe,
    kernel::{Kernel, KernelError, Pair, Pinned},
};
use ebpf_abi::{
    Addr4, Addr6, Backend, BackendState, Counter, Endpoint, IpcacheEntry, LpmKey, METRIC_CELLS, Plain, PolicyEntry,
    PolicyKey, PolicyLpmKey, Reason, ReverseNat, ServiceEntry, ServiceKey,
};
use model::{Direction, L3n4Addr, PortProto, Prefix, Protocol};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

type Result<T> = std::result::Result<T, KernelError>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpcacheDump {
    pub prefix: Prefix,
    pub identity: u32,
    pub tunnel_endpoint: Option<Ipv4Addr>,
    pub encrypt_key: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointDump {
    pub ip: IpAddr,
    pub id: u16,
    pub identity: u32,
    pub ifindex: u32,
    pub locked_down: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyDump {
    pub set: u32,
    pub direction: Direction,
    pub identity: u32,
    /// 0 for any.
    pub proto: u8,
    pub port: u16,
    /// Bits of protocol and port that count: 0, 8 or up to 24.
    pub l4_prefix: u8,
    pub deny: bool,
    pub precedence: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceDump {
    pub frontend: L3n4Addr,
    pub number: u16,
    /// Slot number, backend number, and where it is; `None` when the backend is missing.
    pub backends: Vec<(u16, u32, Option<L3n4Addr>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricDump {
    pub code: u8,
    pub reason: &'static str,
    /// 1 ingress, 2 egress, 3 service.
    pub direction: u8,
    pub packets: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendDump {
    pub number: u32,
    pub addr: L3n4Addr,
    pub terminating: bool,
}

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapUse {
    pub map: &'static str,
    pub entries: usize,
    pub capacity: u32,
}

/// Sorted by prefix.
///
/// # Errors
/// The kernel's refusal, as for all of these.
pub fn ipcache(kernel: &mut impl Kernel) -> Result<Vec<IpcacheDump>> {
    fn exact<A: Address>(pairs: Vec<Pair>) -> impl Iterator<Item = IpcacheDump> {
        pairs.into_iter().filter_map(|(key, value)| row(Prefix::host(A::from_bytes(&key)?.ip()), &value))
    }
    fn cidr<A: Address>(pairs: Vec<Pair>) -> impl Iterator<Item = IpcacheDump>
    where
        LpmKey<A>: Plain,
    {
        pairs.into_iter().filter_map(|(key, value)| {
            let key = LpmKey::<A>::from_bytes(&key)?;
            row(Prefix::try_new(key.addr.ip(), u8::try_from(key.prefix_len).ok()?).ok()?, &value)
        })
    }
    fn row(prefix: Prefix, value: &[u8]) -> Option<IpcacheDump> {
        let entry = IpcacheEntry::from_bytes(value)?;
        Some(IpcacheDump {
            prefix,
            identity: entry.identity,
            tunnel_endpoint: (entry.tunnel != 0).then(|| ip4(entry.tunnel)),
            encrypt_key: entry.key,
        })
    }
    let mut rows: Vec<IpcacheDump> = exact::<Addr4>(kernel.dump(MapId::Ipcache4)?)
        .chain(exact::<Addr6>(kernel.dump(MapId::Ipcache6)?))
        .chain(cidr::<Addr4>(kernel.dump(MapId::IpcacheLpm4)?))
        .chain(cidr::<Addr6>(kernel.dump(MapId::IpcacheLpm6)?))
        .collect();
    rows.sort_by_key(|row| row.prefix);
    Ok(rows)
}

/// Local endpoints by address.
///
/// # Errors
/// As above.
pub fn endpoints(kernel: &mut impl Kernel) -> Result<Vec<EndpointDump>> {
    fn each<A: Address>(pairs: Vec<Pair>) -> impl Iterator<Item = EndpointDump> {
        pairs.into_iter().filter_map(|(key, value)| {
            let endpoint = Endpoint::from_bytes(&value)?;
            Some(EndpointDump {
                ip: A::from_bytes(&key)?.ip(),
                id: endpoint.id,
                identity: endpoint.identity,
                ifindex: endpoint.ifindex,
                locked_down: endpoint.flags & ebpf_abi::EndpointFlags::LOCKDOWN != 0,
            })
        })
    }
    let mut rows: Vec<EndpointDump> =
        each::<Addr4>(kernel.dump(MapId::Endpoints4)?).chain(each::<Addr6>(kernel.dump(MapId::Endpoints6)?)).collect();
    rows.sort_by_key(|row| (row.id, row.ip));
    Ok(rows)
}

/// Every row of every set, or of one.
///
/// # Errors
/// As above.
pub fn policy(kernel: &mut impl Kernel, only: Option<u32>) -> Result<Vec<PolicyDump>> {
    let mut sets = match only {
        Some(set) => vec![set],
        None => kernel.sets()?,
    };
    sets.sort_unstable();
    let mut rows = Vec::new();
    for set in sets {
        let mut set_rows: Vec<PolicyDump> = kernel
            .dump(MapId::PolicySet(set))?
            .iter()
            .filter_map(|(key, value)| {
                let (PolicyLpmKey { key, .. }, entry) =
                    (PolicyLpmKey::from_bytes(key)?, PolicyEntry::from_bytes(value)?);
                Some(PolicyDump {
                    set,
                    direction: if key.egress == 1 { Direction::Egress } else { Direction::Ingress },
                    identity: key.identity,
                    proto: key.proto,
                    port: u16::from_be(key.dport),
                    l4_prefix: entry.l4_prefix(),
                    deny: entry.is_deny(),
                    precedence: entry.precedence,
                })
            })
            .collect();
        set_rows.sort_by_key(|row| (row.direction == Direction::Egress, row.identity, row.proto, row.port));
        rows.extend(set_rows);
    }
    Ok(rows)
}

/// Every backend by its number.
///
/// # Errors
/// As above.
pub fn backends(kernel: &mut impl Kernel) -> Result<Vec<BackendDump>> {
    fn each<A: Address>(pairs: Vec<Pair>) -> impl Iterator<Item = BackendDump>
    where
        Backend<A>: Plain,
    {
        pairs.into_iter().filter_map(|(key, value)| {
            let backend = Backend::<A>::from_bytes(&value)?;
            let proto = Protocol::from_number(backend.proto)?;
            let addr = L3n4Addr::new(backend.addr.ip(), u16::from_be(backend.port), proto);
            Some(BackendDump {
                number: u32::from_bytes(&key)?,
                addr,
                terminating: backend.state != BackendState::ACTIVE,
            })
        })
    }
    let mut rows: Vec<_> =
        each::<Addr4>(kernel.dump(MapId::Backends4)?).chain(each::<Addr6>(kernel.dump(MapId::Backends6)?)).collect();
    rows.sort_by_key(|row| (row.addr.ip.is_ipv6(), row.number));
    Ok(rows)
}

/// What replies are turned back into, by the number that their flow remembers.
///
/// # Errors
/// As above.
pub fn reverse_nat(kernel: &mut impl Kernel) -> Result<Vec<(u16, SocketAddr)>> {
    fn each<A: Address>(pairs: Vec<Pair>) -> impl Iterator<Item = (u16, SocketAddr)>
    where
        ReverseNat<A>: Plain,
    {
        pairs.into_iter().filter_map(|(key, value)| {
            let row = ReverseNat::<A>::from_bytes(&value)?;
            Some((u16::from_bytes(&key)?, SocketAddr::new(row.addr.ip(), u16::from_be(row.port))))
        })
    }
    let mut rows: Vec<_> = each::<Addr4>(kernel.dump(MapId::ReverseNat4)?)
        .chain(each::<Addr6>(kernel.dump(MapId::ReverseNat6)?))
        .collect();
    rows.sort();
    Ok(rows)
}

/// What the rows of a set say of a new flow, looked up as the programs do; `None` when there is no such set.
///
/// # Errors
/// As above.
pub fn verdict(
    kernel: &mut impl Kernel,
    set: u32,
    direction: Direction,
    identity: u32,
    port: PortProto,
) -> Result<Option<bool>> {
    if !kernel.sets()?.contains(&set) {
        return Ok(None);
    }
    let mut row = |identity: u32| {
        let egress = u8::from(direction == Direction::Egress);
        let key = PolicyKey { identity, egress, proto: port.proto.number(), dport: port.port.to_be() };
        let key = PolicyLpmKey { prefix_len: ebpf_abi::POLICY_FULL_PREFIX, key };
        Ok(kernel.lookup(MapId::PolicySet(set), key.as_bytes())?.and_then(|value| PolicyEntry::from_bytes(&value)))
    };
    let rank = |row: &PolicyEntry| (row.precedence, row.l4_prefix());
    let chosen = match (row(identity)?, row(0)?) {
        (Some(exact), Some(any)) => Some(if rank(&any) > rank(&exact) { any } else { exact }),
        (exact, any) => exact.or(any),
    };
    Ok(Some(chosen.is_some_and(|row| !row.is_deny())))
}

/// Services with their slots, sorted by frontend.
///
/// # Errors
/// As above.
pub fn services(kernel: &mut impl Kernel) -> Result<Vec<ServiceDump>> {
    fn each<A: Address>(services: Vec<Pair>, backends: Vec<Pair>) -> Vec<ServiceDump>
    where
        ServiceKey<A>: Plain,
        Backend<A>: Plain,
    {
        let at: BTreeMap<u32, L3n4Addr> = backends
            .iter()
            .filter_map(|(key, value)| {
                let backend = Backend::<A>::from_bytes(value)?;
                let proto = Protocol::from_number(backend.proto)?;
                Some((u32::from_bytes(key)?, L3n4Addr::new(backend.addr.ip(), u16::from_be(backend.port), proto)))
            })
            .collect();
        let mut found: BTreeMap<L3n4Addr, ServiceDump> = BTreeMap::new();
        for (key, value) in &services {
            let (Some(key), Some(entry)) = (ServiceKey::<A>::from_bytes(key), ServiceEntry::from_bytes(value)) else {
                continue;
            };
            // The rows of proto 0 only say that the address is a ClusterIP.
            let Some(proto) = Protocol::from_number(key.proto).filter(|proto| *proto != Protocol::Any) else {
                continue;
            };
            let frontend = L3n4Addr::new(key.addr.ip(), u16::from_be(key.port), proto);
            let service =
                found.entry(frontend).or_insert_with(|| ServiceDump { frontend, number: 0, backends: Vec::new() });
            match key.slot {
                0 => service.number = entry.rev_nat,
                slot => service.backends.push((slot, entry.backend_id, at.get(&entry.backend_id).copied())),
            }
        }
        found.values_mut().for_each(|service| service.backends.sort_unstable_by_key(|(slot, ..)| *slot));
        found.into_values().collect()
    }
    let mut rows = each::<Addr4>(kernel.dump(MapId::Services4)?, kernel.dump(MapId::Backends4)?);
    rows.extend(each::<Addr6>(kernel.dump(MapId::Services6)?, kernel.dump(MapId::Backends6)?));
    Ok(rows)
}

/// Every row of a map in words, by the map's name; of all policy sets for `policy_set`. `None`: there is no such map.
///
/// # Errors
/// As above.
pub fn rows(kernel: &mut impl Kernel, name: &str) -> Result<Option<Vec<(String, String)>>> {
    let maps = match name {
        "policy_set" => kernel.sets()?.into_iter().map(MapId::PolicySet).collect(),
        name => MapId::BOUNDED.into_iter().filter(|map| map.spec().name == name).collect::<Vec<_>>(),
    };
    if maps.is_empty() && name != "policy_set" {
        return Ok(None);
    }
    let mut rows = Vec::new();
    for map in maps {
        rows.extend(kernel.dump(map)?.iter().map(|(key, value)| describe::row(map, key, Some(value))));
    }
    rows.sort();
    Ok(Some(rows))
}

/// How full every map with a bound is; of the policy sets the fullest, as `policy_set`.
///
/// # Errors
/// As above.
pub fn pressure(kernel: &mut Pinned) -> Result<Vec<MapUse>> {
    let mut rows = Vec::new();
    for map in MapId::BOUNDED {
        let capacity = kernel.capacity(map)?;
        rows.push(MapUse { map: map.spec().name, entries: kernel.dump(map)?.len(), capacity });
    }
    let mut fullest = MapUse { map: "policy_set", entries: 0, capacity: ebpf_abi::maps::POLICY_SET.max_entries };
    for set in kernel.sets()? {
        let map = MapId::PolicySet(set);
        let entries = kernel.dump(map)?.len();
        if entries > fullest.entries {
            fullest = MapUse { map: "policy_set", entries, capacity: kernel.capacity(map)? };
        }
    }
    rows.push(fullest);
    Ok(rows)
}

/// Counters that are not zero, summed over the CPUs.
///
/// # Errors
/// As above.
pub fn metrics(kernel: &mut Pinned) -> Result<Vec<MetricDump>> {
    let mut rows = Vec::new();
    for cell in 0..METRIC_CELLS as u32 {
        let total =
            kernel.per_cpu(MapId::Metrics, cell.as_bytes())?.iter().filter_map(|v| Counter::from_bytes(v)).fold(
                Counter::default(),
                |sum, cpu| Counter { packets: sum.packets + cpu.packets, bytes: sum.bytes + cpu.bytes },
            );
        if total.packets > 0 {
            let (code, direction) = ((cell >> 2) as u8, (cell & 3) as u8);
            let reason = Reason(code).text();
            rows.push(MetricDump { code, reason, direction, packets: total.packets, bytes: total.bytes });
        }
    }
    Ok(rows)
}
