//! The flows in the kernel: listed, collected, forgotten.

use crate::{
    MapId,
    addr::Address,
    kernel::{Kernel, KernelError, Pair},
    sys,
};
use ebpf_abi::{Addr4, Addr6, CtEntry, CtFlags, CtKey, CtScope, Plain, tick_shift};
use nix::time::{ClockId, clock_getres};
use std::net::{IpAddr, SocketAddr};

/// A tracked flow in its original direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub proto: u8,
    pub scope: Scope,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// Time left; negative when it is over.
    pub remaining_secs: i64,
    pub closing: bool,
    pub loopback: bool,
    pub rev_nat: u16,
    pub backend_id: u32,
    pub source_identity: u32,
    pub packets: u64,
    pub bytes: u64,
}

/// At which side of the local endpoint the entry was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Out,
    In,
    Service,
}

/// What a collection found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    pub live: usize,
    pub deleted: usize,
}

/// Now on conntrack's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub tick: u32,
    /// How often the kernel ticks a second.
    pub hz: u64,
}

/// The kernel's tick rate: what the resolution of its coarse clock is.
///
/// # Errors
/// When the kernel has no such clock.
pub fn hz() -> std::io::Result<u64> {
    let resolution = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)?;
    Ok(1_000_000_000 / (resolution.tv_nsec() as u64).max(1))
}

/// Asks the kernel for its jiffies, which only a program sees.
///
/// # Errors
/// When the kernel has no coarse clock or refuses a program.
pub fn now() -> std::io::Result<Now> {
    let hz = hz()?;
    Ok(Now { tick: sys::jiffies(tick_shift(hz))?, hz })
}

/// Every flow of both families.
///
/// # Errors
/// The kernel's refusal.
pub fn list(kernel: &mut impl Kernel, now: Now) -> Result<Vec<Flow>, KernelError> {
    let mut flows: Vec<Flow> = kernel.dump(MapId::Ct4)?.iter().filter_map(|pair| flow::<Addr4>(pair, now)).collect();
    flows.extend(kernel.dump(MapId::Ct6)?.iter().filter_map(|pair| flow::<Addr6>(pair, now)));
    Ok(flows)
}

/// Deletes every flow with one of these addresses at either end: the next owner shall not inherit
/// them. One walk of the map serves all of them.
///
/// # Errors
/// The kernel's refusal.
pub fn forget(kernel: &mut impl Kernel, ips: &[IpAddr]) -> Result<usize, KernelError> {
    let mut deleted = 0;
    if ips.iter().any(IpAddr::is_ipv4) {
        deleted += delete_where(kernel, MapId::Ct4, |key, _| touches::<Addr4>(key, ips))?.deleted;
    }
    if ips.iter().any(IpAddr::is_ipv6) {
        deleted += delete_where(kernel, MapId::Ct6, |key, _| touches::<Addr6>(key, ips))?.deleted;
    }
    Ok(deleted)
}

/// Deletes everything.
///
/// # Errors
/// The kernel's refusal.
pub fn flush(kernel: &mut impl Kernel) -> Result<usize, KernelError> {
    let mut deleted = 0;
    for map in MapId::CONNTRACK {
        deleted += delete_where(kernel, map, |_, _| true)?.deleted;
    }
    Ok(deleted)
}

/// Deletes what is over. The programs ignore expired entries anyway; this makes room.
///
/// # Errors
/// The kernel's refusal.
pub fn collect(kernel: &mut impl Kernel, now: Now) -> Result<Collected, KernelError> {
    let mut all = Collected::default();
    for map in MapId::CONNTRACK {
        let collected = delete_where(kernel, map, |_, entry| entry.lifetime <= now.tick)?;
        all.live += collected.live;
        all.deleted += collected.deleted;
    }
    Ok(all)
}

fn delete_where(
    kernel: &mut impl Kernel,
    map: MapId,
    condition: impl Fn(&[u8], &CtEntry) -> bool,
) -> Result<Collected, KernelError> {
    let rows = kernel.dump(map)?;
    let total = rows.len();
    let keys: Vec<Vec<u8>> = rows
        .into_iter()
        .filter(|(key, value)| CtEntry::from_bytes(value).is_some_and(|entry| condition(key, &entry)))
        .map(|(key, _)| key)
        .collect();
    if !keys.is_empty() {
        kernel.delete(map, &keys)?;
    }
    Ok(Collected { live: total - keys.len(), deleted: keys.len() })
}

fn touches<A: Address>(key: &[u8], ips: &[IpAddr]) -> bool
where
    CtKey<A>: Plain,
{
    CtKey::<A>::from_bytes(key).is_some_and(|key| ips.contains(&key.saddr.ip()) || ips.contains(&key.daddr.ip()))
}

fn flow<A: Address>((key, value): &Pair, now: Now) -> Option<Flow>
where
    CtKey<A>: Plain,
{
    let key = CtKey::<A>::from_bytes(key)?;
    let entry = CtEntry::from_bytes(value)?;
    Some(Flow {
        proto: key.proto,
        scope: match key.scope {
            CtScope::IN => Scope::In,
            CtScope::SERVICE => Scope::Service,
            _ => Scope::Out,
        },
        source: SocketAddr::new(key.saddr.ip(), u16::from_be(key.sport)),
        destination: SocketAddr::new(key.daddr.ip(), u16::from_be(key.dport)),
        remaining_secs: ((i64::from(entry.lifetime) - i64::from(now.tick)) << tick_shift(now.hz)) / now.hz as i64,
        closing: entry.flags & CtFlags::CLOSED != 0,
        loopback: entry.flags & CtFlags::LOOPBACK != 0,
        rev_nat: entry.rev_nat,
        backend_id: entry.backend_id,
        source_identity: entry.src_identity,
        packets: entry.packets,
        bytes: entry.bytes,
    })
}
