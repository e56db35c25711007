//! Connection tracking: plain tuples of the original direction.
#![expect(unsafe_code, reason = "Plain is an unsafe trait")]

use crate::{Addr4, Addr6, layout};

/// Conntrack's clock counts ticks of `2^shift` jiffies, about a second: reading jiffies is free in a
/// program, while every other clock is a call.
///
/// The shift for a kernel that ticks `hz` times a second.
#[must_use]
pub const fn tick_shift(hz: u64) -> u32 {
    // The power of two nearest below 1.4 s.
    (hz * 14 / 10).ilog2()
}

/// Seconds as ticks, rounded up.
#[must_use]
pub const fn ticks(secs: u64, hz: u64) -> u32 {
    let shift = tick_shift(hz);
    ((secs * hz + (1 << shift) - 1) >> shift) as u32
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

/// What is known of a flow. Fields are only ever appended, and zero means "not known": an upgrade copies
/// the entries of the version before, and a downgrade cuts them off. Counters are plain additions: two CPUs carrying one flow may lose a
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
    /// Under which policy revision the last packet of the opening side was allowed, by which set,
    /// for which remote identity. While all three hold, the verdict does.
    pub verdict_revision: u32,
    pub verdict_set: u32,
    pub verdict_remote: u32,
    /// TCP flags reported so far, by direction.
    pub tcp_forward: u8,
    pub tcp_reply: u8,
    pub pad: u16,
    /// Tick of the first packet.
    #[cfg(feature = "next-layout")]
    pub created: u32,
    #[cfg(feature = "next-layout")]
    pub pad_created: u32,
}
#[cfg(not(feature = "next-layout"))]
layout!(CtEntry, 56, 8);
#[cfg(feature = "next-layout")]
layout!(CtEntry, 64, 8);

#[cfg(test)]
mod tests {
    use super::{tick_shift, ticks};

    #[test]
    fn a_tick_is_about_a_second() {
        for hz in [100, 250, 300, 1000] {
            let tick = f64::from(1u32 << tick_shift(hz)) / hz as f64;
            assert!((0.6..=1.4).contains(&tick), "{hz}: {tick}");
            assert!(f64::from(ticks(60, hz)) * tick >= 60.0);
        }
    }
}
