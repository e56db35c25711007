//! Connection tracking: what a packet is to the flows of one endpoint.
//!
//! An entry belongs to one end of a flow: scope OUT where the local end opened it, IN where it
//! answered. The forward key is looked up first: at one end only one of the two can exist, because
//! an entry is made only when both lookups missed.

use crate::{
    fault::{Fault, fault},
    globals::{CT_ANY, CT_CLOSE, CT_REPORT, CT_SYN, CT_TCP, CT_TICK_SHIFT},
    maps::{CONFIG, CT_SCRATCH},
    packet::{FIN, Icmp, Packet, RST, SYN, TCP},
    parse::Parse,
    skb::Skb,
};
use aya_ebpf::helpers::generated::bpf_jiffies64;
use ebpf_abi::{ConfigCell, CtEntry, CtFlags, CtScope, FlowState, SourceFile};

const FILE: SourceFile = SourceFile::Ct;

/// The clock: jiffies, which the compiler of programs inlines.
#[inline(always)]
pub fn now() -> u32 {
    // SAFETY: no arguments.
    (unsafe { bpf_jiffies64() } >> CT_TICK_SHIFT.load()) as u32
}

/// What an allowed packet's verdict rests on.
#[derive(Clone, Copy)]
pub struct Verdict {
    pub revision: u32,
    pub set: u32,
    pub remote: u32,
}

impl Verdict {
    /// The revision is read before any row: a change while we look makes what we remember stale.
    #[inline(always)]
    pub fn new(set: u32, remote: u32) -> Self {
        let revision = CONFIG.get(ConfigCell::PolicyRevision as u32).map_or(0, |cell| *cell as u32);
        Self { revision, set, remote }
    }
}

/// What the lookup found.
pub struct Flow {
    /// A [`FlowState`].
    pub state: u8,
    /// Monitors at medium aggregation want to know of this packet.
    pub report: bool,
    /// The reverse translation that the entry names.
    pub rev_nat: u16,
    /// The verdict on an earlier packet holds.
    pub decided: bool,
}

impl Flow {
    #[inline(always)]
    pub fn is_new(&self) -> bool {
        self.state == FlowState::NEW
    }

    /// Policy applies to every packet of the opening side, and to nothing else.
    #[inline(always)]
    pub fn is_forward(&self) -> bool {
        self.state == FlowState::NEW || self.state == FlowState::ESTABLISHED
    }
}

/// Looks the packet up at the endpoint it reaches (`ingress`) or leaves. `rev_nat` is the service
/// it was just translated for; an established flow takes it over, because the same tuple may be
/// used through a service now and directly then.
#[inline(always)]
pub fn lookup<F: Parse>(
    skb: Skb,
    packet: &mut Packet<F>,
    ingress: bool,
    rev_nat: u16,
    verdict: &Verdict,
    now: u32,
) -> Flow {
    let flow = find(skb, packet, ingress, rev_nat, verdict, now);
    Flow {
        state: skb.forget(u32::from(flow.state)) as u8,
        report: skb.forget(u32::from(flow.report)) & 1 != 0,
        rev_nat: skb.forget(u32::from(flow.rev_nat)) as u16,
        decided: skb.forget(u32::from(flow.decided)) & 1 != 0,
    }
}

#[inline(always)]
fn find<F: Parse>(skb: Skb, packet: &mut Packet<F>, ingress: bool, rev_nat: u16, verdict: &Verdict, now: u32) -> Flow {
    let (forward, reverse) = if ingress { (CtScope::IN, CtScope::OUT) } else { (CtScope::OUT, CtScope::IN) };
    if let Some(entry) = F::ct().get_ptr_mut(packet.key(forward)) {
        if live(entry, now) && !reopens(entry, packet) {
            let report = touch(skb, entry, packet, false, false, now);
            if !ingress {
                // SAFETY: a live map value.
                unsafe {
                    if (*entry).rev_nat != rev_nat {
                        (*entry).rev_nat = rev_nat;
                    }
                }
            }
            // ICMP's type is no part of the tuple, but of policy: such packets are decided one by one.
            // SAFETY: a live map value.
            let decided = packet.proto != F::ICMP
                && unsafe {
                    (*entry).verdict_revision == verdict.revision
                        && (*entry).verdict_set == verdict.set
                        && (*entry).verdict_remote == verdict.remote
                };
            return Flow { state: FlowState::ESTABLISHED, report, rev_nat, decided };
        }
    }
    if let Some(entry) = F::ct().get_ptr_mut(packet.reverse_key(reverse)) {
        if live(entry, now) {
            if reopens(entry, packet) {
                // The old flow's entry would take the answers of the new one for its own.
                let _ = F::ct().remove(packet.reverse_key(reverse));
            } else {
                let report = touch(skb, entry, packet, true, false, now);
                // SAFETY: a live map value.
                return Flow { state: FlowState::REPLY, report, rev_nat: unsafe { (*entry).rev_nat }, decided: false };
            }
        }
    }
    if packet.icmp == Icmp::Error && related::<F>(skb, packet, ingress, now) {
        return Flow { state: FlowState::RELATED, report: true, rev_nat: 0, decided: false };
    }
    Flow { state: FlowState::NEW, report: true, rev_nat: 0, decided: false }
}

/// Is there a live flow of this endpoint that the carried header belongs to? It travelled against
/// the error, hence the opposite direction.
#[inline(always)]
fn related<F: Parse>(skb: Skb, packet: &mut Packet<F>, ingress: bool, now: u32) -> bool {
    // An ICMP error's own header is 8 bytes in both families.
    let Some((saddr, daddr, sport, dport, proto)) = F::embedded(skb, packet.l4 + 8) else { return false };
    let (forward, reverse) = if ingress { (CtScope::OUT, CtScope::IN) } else { (CtScope::IN, CtScope::OUT) };
    if let Some(entry) = F::ct().get_ptr_mut(packet.tuple(saddr, daddr, sport, dport, proto, forward)) {
        if live(entry, now) {
            return true;
        }
    }
    match F::ct().get_ptr_mut(packet.tuple(daddr, saddr, dport, sport, proto, reverse)) {
        Some(entry) => live(entry, now),
        None => false,
    }
}

/// What the maker of an entry knows.
#[derive(Clone, Copy)]
pub struct Seed {
    pub scope: u8,
    pub flags: u16,
    pub rev_nat: u16,
    pub backend_id: u32,
    pub src_identity: u32,
    /// Remembered as allowed.
    pub verdict: Verdict,
}

/// Makes the entry of a new flow.
#[inline(always)]
pub fn create<F: Parse>(skb: Skb, packet: &mut Packet<F>, now: u32, seed: Seed) -> Result<(), Fault> {
    let Some(scratch) = CT_SCRATCH.get_ptr_mut(0) else { return Err(fault!(CT_INSERTION_FAILED)) };
    let mut flags = seed.flags;
    let life = advance(skb, &mut flags, packet, false, seed.scope == CtScope::SERVICE);
    // SAFETY: this CPU's scratch; no other program runs on it before the insertion copied it.
    let entry = unsafe { &mut *scratch };
    entry.packets = 1;
    entry.bytes = u64::from(packet.len);
    entry.lifetime = now + life;
    entry.flags = flags;
    entry.rev_nat = seed.rev_nat;
    entry.backend_id = seed.backend_id;
    entry.src_identity = seed.src_identity;
    entry.reported_forward = now;
    entry.reported_reply = 0;
    #[cfg(feature = "next-layout")]
    {
        entry.created = now;
    }
    entry.tcp_forward = packet.tcp_flags;
    entry.tcp_reply = 0;
    entry.verdict_revision = seed.verdict.revision;
    entry.verdict_set = seed.verdict.set;
    entry.verdict_remote = seed.verdict.remote;
    match F::ct().insert(packet.key(seed.scope), &*entry, 0) {
        Ok(()) => Ok(()),
        Err(_) => Err(fault!(CT_INSERTION_FAILED)),
    }
}

/// Remembers that this packet of an established flow was allowed. Policy changed, or a relabelled
/// endpoint: rare enough for a lookup of its own.
#[inline(always)]
pub fn remember<F: Parse>(packet: &mut Packet<F>, scope: u8, verdict: &Verdict) {
    if let Some(entry) = F::ct().get_ptr_mut(packet.key(scope)) {
        // SAFETY: a live map value.
        unsafe {
            (*entry).verdict_revision = verdict.revision;
            (*entry).verdict_set = verdict.set;
            (*entry).verdict_remote = verdict.remote;
        }
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
pub fn touch<F: Parse>(
    skb: Skb,
    entry: *mut CtEntry,
    packet: &Packet<F>,
    reply: bool,
    one_sided: bool,
    now: u32,
) -> bool {
    // SAFETY: as in `live`. Races with another CPU lose a count or a tick, nothing else.
    let entry = unsafe { &mut *entry };
    entry.packets += 1;
    entry.bytes += u64::from(packet.len);
    let was_closed = entry.flags & CtFlags::CLOSED == CtFlags::CLOSED;
    let mut flags = entry.flags;
    let life = now + advance(skb, &mut flags, packet, reply, one_sided);
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
    if fresh || now >= reported + CT_REPORT.load() {
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
fn advance<F: Parse>(skb: Skb, flags: &mut u16, packet: &Packet<F>, reply: bool, one_sided: bool) -> u32 {
    if packet.proto != TCP {
        return CT_ANY.load();
    }
    if packet.tcp_flags & SYN == 0 {
        *flags |= CtFlags::SEEN_NON_SYN;
    }
    if packet.tcp_flags & RST != 0 || (one_sided && packet.tcp_flags & FIN != 0) {
        *flags |= CtFlags::CLOSED;
    } else if packet.tcp_flags & FIN != 0 {
        *flags |= if reply { CtFlags::REPLY_CLOSING } else { CtFlags::FORWARD_CLOSING };
    }
    *flags = skb.forget(u32::from(*flags)) as u16;
    if *flags & CtFlags::CLOSED == CtFlags::CLOSED {
        CT_CLOSE.load()
    } else if *flags & CtFlags::SEEN_NON_SYN != 0 {
        CT_TCP.load()
    } else {
        CT_SYN.load()
    }
}
