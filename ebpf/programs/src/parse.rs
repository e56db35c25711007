//! Headers to `Packet`. The first fragment is a packet; later ones have no ports and end here.

use crate::{
    family::{ETH, Family, Header4, Header6, V4, V6},
    fault::{Fault, fault},
    packet::{Icmp, Packet, SCTP, TCP, UDP},
    skb::Skb,
};
use ebpf_abi::SourceFile;

const FILE: SourceFile = SourceFile::Parse;

/// IPv6 extension headers walked at most; Cilium has the same bound.
const EXTENSIONS: usize = 4;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTH: u8 = 51;
const NO_NEXT: u8 = 59;
const DESTINATION: u8 = 60;

pub trait Parse: Family {
    fn parse(skb: Skb) -> Result<Packet<Self>, Fault>;
    /// The tuple of the packet that an ICMP error carries: saddr, daddr, sport, dport, proto.
    fn embedded(skb: Skb, offset: u32) -> Option<(Self::Addr, Self::Addr, u16, u16, u8)>;
}

impl Parse for V4 {
    #[inline(always)]
    fn parse(skb: Skb) -> Result<Packet<V4>, Fault> {
        let Some(header) = skb.load::<Header4>(ETH) else { return Err(fault!(INVALID_PACKET)) };
        let ihl = u32::from(header.version_ihl & 0xf) * 4;
        if header.version_ihl >> 4 != 4 || ihl < 20 {
            return Err(fault!(INVALID_PACKET));
        }
        if u16::from_be(header.fragment) & 0x1fff != 0 {
            return Err(fault!(FRAGMENT));
        }
        let l4 = parse_l4::<V4>(skb, header.proto, ETH + ihl)?;
        Ok(l4.packet(skb, header))
    }

    #[inline(always)]
    fn embedded(skb: Skb, offset: u32) -> Option<(u32, u32, u16, u16, u8)> {
        let header = skb.load_far::<Header4>(offset)?;
        let l4 = offset + u32::from(header.version_ihl & 0xf) * 4;
        let (sport, dport) = embedded_ports::<V4>(skb, header.proto, l4)?;
        Some((header.saddr, header.daddr, sport, dport, header.proto))
    }
}

impl Parse for V6 {
    #[inline(always)]
    fn parse(skb: Skb) -> Result<Packet<V6>, Fault> {
        let Some(header) = skb.load::<Header6>(ETH) else { return Err(fault!(INVALID_PACKET)) };
        if u32::from_be(header.flow) >> 28 != 6 {
            return Err(fault!(INVALID_PACKET));
        }
        let mut next = header.next;
        let mut offset = ETH + 40;
        for _ in 0..EXTENSIONS {
            let unit = match next {
                HOP_BY_HOP | ROUTING | DESTINATION => 3,
                AUTH => 2,
                FRAGMENT => {
                    let Some(fragment) = skb.load::<[u16; 2]>(offset) else {
                        return Err(fault!(INVALID_IPV6_EXTENSION));
                    };
                    if u16::from_be(fragment[1]) & 0xfff8 != 0 {
                        return Err(fault!(FRAGMENT));
                    }
                    next = fragment[0].to_ne_bytes()[0];
                    offset += 8;
                    continue;
                }
                _ => break,
            };
            let Some(extension) = skb.load::<[u8; 2]>(offset) else { return Err(fault!(INVALID_IPV6_EXTENSION)) };
            let units = u32::from(extension[1]) + if unit == 2 { 2 } else { 1 };
            next = extension[0];
            offset += units << unit;
        }
        if next == NO_NEXT {
            return Err(fault!(INVALID_IPV6_EXTENSION));
        }
        let l4 = parse_l4::<V6>(skb, next, offset)?;
        Ok(l4.packet(skb, header))
    }

    #[inline(always)]
    fn embedded(skb: Skb, offset: u32) -> Option<([u32; 4], [u32; 4], u16, u16, u8)> {
        let header = skb.load_far::<Header6>(offset)?;
        let (sport, dport) = embedded_ports::<V6>(skb, header.next, offset + 40)?;
        Some((header.saddr, header.daddr, sport, dport, header.next))
    }
}

struct L4 {
    proto: u8,
    offset: u32,
    sport: u16,
    dport: u16,
    tcp_flags: u8,
    icmp: Icmp,
    icmp_type: u8,
}

impl L4 {
    #[inline(always)]
    fn packet<F: Family>(self, skb: Skb, header: F::Header) -> Packet<F> {
        let icmp = match skb.forget(self.icmp as u32) {
            0 => Icmp::Tracked,
            1 => Icmp::Error,
            _ => Icmp::Neighbour,
        };
        Packet {
            sport: skb.forget(u32::from(self.sport)) as u16,
            dport: skb.forget(u32::from(self.dport)) as u16,
            proto: skb.forget(u32::from(self.proto)) as u8,
            tcp_flags: skb.forget(u32::from(self.tcp_flags)) as u8,
            icmp,
            icmp_type: skb.forget(u32::from(self.icmp_type)) as u8,
            l4: skb.forget(self.offset),
            len: skb.len(),
            header,
            dirty: false,
        }
    }
}

#[inline(always)]
fn parse_l4<F: Family>(skb: Skb, proto: u8, offset: u32) -> Result<L4, Fault> {
    let mut l4 = L4 { proto, offset, sport: 0, dport: 0, tcp_flags: 0, icmp: Icmp::Tracked, icmp_type: 0 };
    match proto {
        TCP => {
            let Some(words) = skb.load::<[u16; 8]>(offset) else { return Err(fault!(CT_TRUNCATED)) };
            l4.sport = words[0];
            l4.dport = words[1];
            l4.tcp_flags = words[6].to_ne_bytes()[1];
        }
        UDP | SCTP => {
            let Some(words) = skb.load::<[u16; 4]>(offset) else { return Err(fault!(CT_TRUNCATED)) };
            l4.sport = words[0];
            l4.dport = words[1];
        }
        icmp if icmp == F::ICMP => {
            let Some(words) = skb.load::<[u16; 4]>(offset) else { return Err(fault!(CT_TRUNCATED)) };
            l4.icmp_type = words[0].to_ne_bytes()[0];
            match icmp_role::<F>(l4.icmp_type) {
                IcmpRole::Request => l4.dport = words[2],
                IcmpRole::Reply => l4.sport = words[2],
                IcmpRole::Error => l4.icmp = Icmp::Error,
                IcmpRole::Neighbour => l4.icmp = Icmp::Neighbour,
                IcmpRole::Other => {}
            }
        }
        _ => return Err(fault!(CT_UNKNOWN_PROTOCOL)),
    }
    Ok(l4)
}

enum IcmpRole {
    Request,
    Reply,
    Error,
    Neighbour,
    Other,
}

#[inline(always)]
fn icmp_role<F: Family>(kind: u8) -> IcmpRole {
    if F::V6 {
        match kind {
            128 => IcmpRole::Request,
            129 => IcmpRole::Reply,
            1..=4 => IcmpRole::Error,
            133..=137 => IcmpRole::Neighbour,
            _ => IcmpRole::Other,
        }
    } else {
        match kind {
            8 => IcmpRole::Request,
            0 => IcmpRole::Reply,
            3 | 11 | 12 => IcmpRole::Error,
            _ => IcmpRole::Other,
        }
    }
}

#[inline(always)]
fn embedded_ports<F: Family>(skb: Skb, proto: u8, offset: u32) -> Option<(u16, u16)> {
    let words = skb.load_far::<[u16; 4]>(offset)?;
    if proto == TCP || proto == UDP || proto == SCTP {
        return Some((words[0], words[1]));
    }
    if proto == F::ICMP {
        return match icmp_role::<F>(words[0].to_ne_bytes()[0]) {
            IcmpRole::Request => Some((0, words[2])),
            IcmpRole::Reply => Some((words[2], 0)),
            _ => None,
        };
    }
    None
}
