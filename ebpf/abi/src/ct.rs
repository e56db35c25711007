//! Connection tracking: plain tuples of the original direction.
#![expect(unsafe_code, reason = "Plain is an unsafe trait")]

use crate::{Addr4, Addr6, layout};

/// One tick of conntrack's clock is 2^30 ns (1.07 s): a shift instead of a division per packet.
pub const TICK_SHIFT: u32 = 30;

/// Seconds as ticks, rounded up.
#[must_use]
pub const fn ticks(secs: u64) -> u32 {
    ((secs * 1_000_000_000 + (1 << TICK_SHIFT) - 1) >> TICK_SHIFT) as u32
}

/// Life of an entry after its last packet, in ticks. The values are Cilium 1.20's flags' defaults.
pub struct CtTimeouts;

impl CtTimeouts {
    /// TCP once a packet without SYN was seen.
    pub const TCP: u32 = ticks(8000);
    /// TCP until then.
    pub const SYN: u32 = ticks(60);
    /// TCP after both ends closed.
    pub const CLOSE: u32 = ticks(10);
    /// Everything else.
    pub const ANY: u32 = ticks(60);
    /// How often a quiet flow is reported to monitors.
    pub const REPORT: u32 = ticks(5);
}

/// At which side of which endpoint an entry was made.
pub struct CtScope;

impl CtScope {
    /// The local end of the flow sent its first packet.
    pub const OUT: u8 = 0;
    /// The local end of the flow received its first packet.
    pub const IN: u8 = 1;
    /// Remembers the backend a client was given; never consulted for policy.
    pub const SERVICE: u8 = 4;
}

/// State bits of an entry.
pub struct CtFlags;

impl CtFlags {
    /// The answering side sent FIN.
    pub const REPLY_CLOSING: u16 = 1;
    /// The opening side sent FIN.
    pub const FORWARD_CLOSING: u16 = 1 << 1;
    /// Both of the above: the connection is over.
    pub const CLOSED: u16 = Self::REPLY_CLOSING | Self::FORWARD_CLOSING;
    /// A service led the client back to itself; its source was replaced by the loopback address.
    pub const LOOPBACK: u16 = 1 << 3;
    /// A TCP packet without SYN was seen: established timeouts apply.
    pub const SEEN_NON_SYN: u16 = 1 << 4;
    /// The first packet came from the tunnel.
    pub const FROM_TUNNEL: u16 = 1 << 10;
}

/// The original direction's tuple. For ICMP echo the identifier stands in `dport`, so that the
/// reply, which carries it in `sport`, is the reverse tuple.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CtKey<A> {
    pub daddr: A,
    pub saddr: A,
    pub dport: u16,
    pub sport: u16,
    pub proto: u8,
    /// A [`CtScope`].
    pub scope: u8,
    pub pad: u16,
}

pub type Ct4Key = CtKey<Addr4>;
pub type Ct6Key = CtKey<Addr6>;
layout!(Ct4Key, 16, 4);
layout!(Ct6Key, 40, 4);

/// What is known of a flow. Counters are plain additions: two CPUs carrying one flow may lose a
/// count, which is cheaper than a locked bus for every packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtEntry {
    pub packets: u64,
    pub bytes: u64,
    /// Tick at which the entry is over. The programs check it: an expired entry is as good as none.
    pub lifetime: u32,
    /// [`CtFlags`].
    pub flags: u16,
    /// Which reverse translation a reply needs; 0 for none.
    pub rev_nat: u16,
    /// Only in [`CtScope::SERVICE`] entries.
    pub backend_id: u32,
    /// Identity of the side that opened the flow.
    pub src_identity: u32,
    /// Tick of the last report to monitors, by direction.
    pub reported_forward: u32,
    pub reported_reply: u32,
    /// TCP flags reported so far, by direction.
    pub tcp_forward: u8,
    pub tcp_reply: u8,
    pub pad: [u8; 6],
}
layout!(CtEntry, 48, 8);
