//! A parsed packet: what the walks decide on and what they rewrite.

use crate::family::Family;
use ebpf_abi::CtKey;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SCTP: u8 = 132;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// What an ICMP packet is to conntrack.
#[derive(Clone, Copy, PartialEq)]
pub enum Icmp {
    /// Not ICMP, or a query that is tracked by its identifier.
    Tracked,
    /// It reports on another flow, whose header it carries.
    Error,
    /// Neighbour discovery.
    Neighbour,
}

pub struct Packet<F: Family> {
    /// Ports as conntrack sees them, network order.
    pub sport: u16,
    pub dport: u16,
    pub proto: u8,
    pub tcp_flags: u8,
    pub icmp: Icmp,
    pub icmp_type: u8,
    /// Offset of the L4 header.
    pub l4: u32,
    pub len: u32,
    /// The IP header as it is to be: written back once, by `flush` or together with the MACs.
    pub header: F::Header,
    /// The header differs from the packet's.
    pub dirty: bool,
}

impl<F: Family> Packet<F> {
    #[inline(always)]
    pub fn saddr(&self) -> F::Addr {
        F::saddr(&self.header)
    }

    #[inline(always)]
    pub fn daddr(&self) -> F::Addr {
        F::daddr(&self.header)
    }

    /// The port policy compares: ICMP puts its type there.
    #[inline(always)]
    pub fn policy_port(&self) -> u16 {
        if self.proto == F::ICMP { u16::from(self.icmp_type).to_be() } else { self.dport }
    }

    /// Opens a TCP connection.
    #[inline(always)]
    pub fn is_syn(&self) -> bool {
        self.proto == TCP && self.tcp_flags & (SYN | ACK) == SYN
    }

    #[inline(always)]
    pub fn key(&self, scope: u8) -> CtKey<F::Addr> {
        CtKey {
            daddr: self.daddr(),
            saddr: self.saddr(),
            dport: self.dport,
            sport: self.sport,
            proto: self.proto,
            scope,
            pad: 0,
        }
    }

    #[inline(always)]
    pub fn reverse_key(&self, scope: u8) -> CtKey<F::Addr> {
        CtKey {
            daddr: self.saddr(),
            saddr: self.daddr(),
            dport: self.sport,
            sport: self.dport,
            proto: self.proto,
            scope,
            pad: 0,
        }
    }
}
