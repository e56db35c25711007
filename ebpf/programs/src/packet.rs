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

#[repr(C)]
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
    /// Where keys are built.
    key: CtKey<F::Addr>,
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

    /// The packet's tuple as it travels.
    #[inline(always)]
    pub fn key(&mut self, scope: u8) -> &CtKey<F::Addr> {
        let (saddr, daddr, sport, dport, proto) = (self.saddr(), self.daddr(), self.sport, self.dport, self.proto);
        self.tuple(saddr, daddr, sport, dport, proto, scope)
    }

    /// The tuple of the packets it answers.
    #[inline(always)]
    pub fn reverse_key(&mut self, scope: u8) -> &CtKey<F::Addr> {
        let (saddr, daddr, sport, dport, proto) = (self.saddr(), self.daddr(), self.sport, self.dport, self.proto);
        self.tuple(daddr, saddr, dport, sport, proto, scope)
    }

    /// Any tuple. All keys share one place.
    #[inline(always)]
    pub fn tuple(
        &mut self,
        saddr: F::Addr,
        daddr: F::Addr,
        sport: u16,
        dport: u16,
        proto: u8,
        scope: u8,
    ) -> &CtKey<F::Addr> {
        self.key = CtKey { daddr, saddr, dport, sport, proto, scope, pad: 0 };
        &self.key
    }
}
