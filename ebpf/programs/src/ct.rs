//! Connection tracking: what a packet is to the flows of one endpoint.
//!
//! An entry belongs to one end of a flow: scope OUT where the local end opened it, IN where it
//! answered. The forward key is looked up first: at one end only one of the two can exist, because
//! an entry is made only when both lookups missed.

use crate::{
    fault::{Fault, fault},
    packet::{FIN, Icmp, Packet, RST, SYN, TCP},
    parse::Parse,
    skb::Skb,
};
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use ebpf_abi::{CtEntry, CtFlags, CtKey, CtScope, CtTimeouts, FlowState, SourceFile, TICK_SHIFT};

const FILE: SourceFile = SourceFile::Ct;

/// The clock: coarse, because the exact one costs more than two map lookups.
#[inline(always)]
pub fn now() -> u32 {
    // SAFETY: no arguments.
    (unsafe { bpf_ktime_get_coarse_ns() } >> TICK_SHIFT) as u32
}

/// What the lookup found.
pub struct Flow {
    /// A [`FlowState`].
    pub state: u8,
    /// Monitors at medium aggregation want to know of this packet.
    pub report: bool,
    /// The live entry; `None` when the flow is new or only related to one.
    pub entry: Option<*mut CtEntry>,
}

impl Flow {
    #[inline(always)]
    pub fn is_new(&self) -> bool {
        self.state == FlowState::NEW
    }

    /// Policy is checked on every packet of the opening side, and on nothing else.
    #[inline(always)]
    pub fn wants_policy(&self) -> bool {
        self.state == FlowState::NEW || self.state == FlowState::ESTABLISHED
    }
}

/// Looks the packet up at the endpoint it reaches (`ingress`) or leaves.
#[inline(always)]
pub fn lookup<F: Parse>(skb: Skb, packet: &Packet<F>, ingress: bool, now: u32) -> Flow {
    let (forward, reverse) = if ingress { (CtScope::IN, CtScope::OUT) } else { (CtScope::OUT, CtScope::IN) };
    if let Some(entry) = F::ct().get_ptr_mut(packet.key(forward)) {
        if live(entry, now) && !reopens(entry, packet) {
            let report = touch(entry, packet, false, false, now);
            return Flow { state: FlowState::ESTABLISHED, report, entry: Some(entry) };
        }
    } else {
        let key = packet.reverse_key(reverse);
        if let Some(entry) = F::ct().get_ptr_mut(&key) {
            if live(entry, now) {
                if reopens(entry, packet) {
                    // The old flow's entry would take the answers of the new one for its own.
                    let _ = F::ct().remove(&key);
                } else {
                    let report = touch(entry, packet, true, false, now);
                    return Flow { state: FlowState::REPLY, report, entry: Some(entry) };
                }
            }
        }
        if packet.icmp == Icmp::Error && related::<F>(skb, packet, ingress, now) {
            return Flow { state: FlowState::RELATED, report: true, entry: None };
        }
    }
    Flow { state: FlowState::NEW, report: true, entry: None }
}

/// Is there a live flow of this endpoint that the carried header belongs to? It travelled against
/// the error, hence the opposite direction.
#[inline(always)]
fn related<F: Parse>(skb: Skb, packet: &Packet<F>, ingress: bool, now: u32) -> bool {
    // An ICMP error's own header is 8 bytes in both families.
    let Some((saddr, daddr, sport, dport, proto)) = F::embedded(skb, packet.l4 + 8) else { return false };
    let (forward, reverse) = if ingress { (CtScope::OUT, CtScope::IN) } else { (CtScope::IN, CtScope::OUT) };
    let mut key = CtKey { daddr, saddr, dport, sport, proto, scope: forward, pad: 0 };
    if let Some(entry) = F::ct().get_ptr_mut(&key) {
        if live(entry, now) {
            return true;
        }
    }
    key = CtKey { daddr: saddr, saddr: daddr, dport: sport, sport: dport, proto, scope: reverse, pad: 0 };
    match F::ct().get_ptr_mut(&key) {
        Some(entry) => live(entry, now),
        None => false,
    }
}

/// Makes the entry of a new flow.
#[inline(always)]
pub fn create<F: Parse>(packet: &Packet<F>, scope: u8, now: u32, seed: CtEntry) -> Result<(), Fault> {
    let mut entry = seed;
    entry.packets = 1;
    entry.bytes = u64::from(packet.len);
    entry.lifetime = now;
    entry.tcp_forward = packet.tcp_flags;
    entry.reported_forward = now;
    entry.lifetime = now + advance(&mut entry.flags, packet, false, scope == CtScope::SERVICE);
    match F::ct().insert(packet.key(scope), entry, 0) {
        Ok(()) => Ok(()),
        Err(_) => Err(fault!(CT_INSERTION_FAILED)),
    }
}

/// An entry past its life is as good as none; the map's own eviction may come much later.
#[inline(always)]
pub fn live(entry: *mut CtEntry, now: u32) -> bool {
    // SAFETY: a non-null map value, valid while the program runs.
    unsafe { (*entry).lifetime > now }
}

/// A SYN on a closing connection is a new connection.
#[inline(always)]
pub fn reopens<F: Parse>(entry: *mut CtEntry, packet: &Packet<F>) -> bool {
    // SAFETY: as in `live`.
    packet.is_syn() && unsafe { (*entry).flags } & CtFlags::CLOSED != 0
}

/// Accounts a packet of a known flow; true when monitors should hear of it. `one_sided` entries
/// see the opening side only, so its FIN ends them.
#[inline(always)]
pub fn touch<F: Parse>(entry: *mut CtEntry, packet: &Packet<F>, reply: bool, one_sided: bool, now: u32) -> bool {
    // SAFETY: as in `live`. Races with another CPU lose a count or a tick, nothing else.
    let entry = unsafe { &mut *entry };
    entry.packets += 1;
    entry.bytes += u64::from(packet.len);
    let was_closed = entry.flags & CtFlags::CLOSED == CtFlags::CLOSED;
    let mut flags = entry.flags;
    let life = now + advance(&mut flags, packet, reply, one_sided);
    // Equal values are not written again: a clean cache line is shared, a dirty one is not.
    if flags != entry.flags {
        entry.flags = flags;
    }
    if !was_closed && life != entry.lifetime {
        entry.lifetime = life;
    }
    let (seen, reported) =
        if reply { (entry.tcp_reply, entry.reported_reply) } else { (entry.tcp_forward, entry.reported_forward) };
    let fresh = packet.tcp_flags & !seen != 0;
    if fresh || now >= reported + CtTimeouts::REPORT {
        if reply {
            entry.tcp_reply = seen | packet.tcp_flags;
            entry.reported_reply = now;
        } else {
            entry.tcp_forward = seen | packet.tcp_flags;
            entry.reported_forward = now;
        }
        return true;
    }
    false
}

/// Moves the TCP state and says how long the flow may now stay silent.
#[inline(always)]
fn advance<F: Parse>(flags: &mut u16, packet: &Packet<F>, reply: bool, one_sided: bool) -> u32 {
    if packet.proto != TCP {
        return CtTimeouts::ANY;
    }
    if packet.tcp_flags & SYN == 0 {
        *flags |= CtFlags::SEEN_NON_SYN;
    }
    if packet.tcp_flags & RST != 0 || (one_sided && packet.tcp_flags & FIN != 0) {
        *flags |= CtFlags::CLOSED;
    } else if packet.tcp_flags & FIN != 0 {
        *flags |= if reply { CtFlags::REPLY_CLOSING } else { CtFlags::FORWARD_CLOSING };
    }
    if *flags & CtFlags::CLOSED == CtFlags::CLOSED {
        CtTimeouts::CLOSE
    } else if *flags & CtFlags::SEEN_NON_SYN != 0 {
        CtTimeouts::TCP
    } else {
        CtTimeouts::SYN
    }
}
