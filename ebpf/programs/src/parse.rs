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
    fn parse(skb: Skb) -> Result<&'static mut Packet<Self>, Fault>;
    /// The tuple of the packet that an ICMP error carries: saddr, daddr, sport, dport, proto.
    fn embedded(skb: Skb, offset: u32) -> Option<(Self::Addr, Self::Addr, u16, u16, u8)>;
}

impl Parse for V4 {
    #[inline(always)]
    fn parse(skb: Skb) -> Result<&'static mut Packet<V4>, Fault> {
        let Some(header) = skb.load::<Header4>(ETH) else { return Err(fault!(INVALID_PACKET)) };
        let Some(packet) = place::<V4>() else { return Err(fault!(INVALID_PACKET)) };
        packet.header = header;
        let ihl = u32::from(header.version_ihl & 0xf) * 4;
        if header.version_ihl >> 4 != 4 || ihl < 20 {
            return Err(fault!(INVALID_PACKET));
        }
        if u16::from_be(header.fragment) & 0x1fff != 0 {
            return Err(fault!(FRAGMENT));
        }
        parse_l4(skb, packet, header.proto, ETH + ihl)?;
        Ok(packet)
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
    fn parse(skb: Skb) -> Result<&'static mut Packet<V6>, Fault> {
        let Some(header) = skb.load::<Header6>(ETH) else { return Err(fault!(INVALID_PACKET)) };
        let Some(packet) = place::<V6>() else { return Err(fault!(INVALID_PACKET)) };
        packet.header = header;
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
        parse_l4(skb, packet, next, offset)?;
        Ok(packet)
    }

    #[inline(always)]
    fn embedded(skb: Skb, offset: u32) -> Option<([u32; 4], [u32; 4], u16, u16, u8)> {
        let header = skb.load_far::<Header6>(offset)?;
        let (sport, dport) = embedded_ports::<V6>(skb, header.next, offset + 40)?;
        Some((header.saddr, header.daddr, sport, dport, header.next))
    }
}

/// This CPU's place for a packet. The walks have too little stack for it, and what lies in a map the
/// verifier forgets, so that it does not follow every protocol through the rest of the program.
#[inline(always)]
fn place<F: Family>() -> Option<&'static mut Packet<F>> {
    let packet = F::packet()?;
    // SAFETY: this CPU's, and programs of one CPU do not interrupt each other.
    Some(unsafe { &mut *packet })
}

#[inline(always)]
fn parse_l4<F: Family>(skb: Skb, packet: &mut Packet<F>, proto: u8, offset: u32) -> Result<(), Fault> {
    packet.proto = proto;
    packet.l4 = offset;
    packet.len = skb.len();
    packet.sport = 0;
    packet.dport = 0;
    packet.tcp_flags = 0;
    packet.icmp = Icmp::Tracked;
    packet.icmp_type = 0;
    packet.dirty = false;
    match proto {
        TCP => {
            let Some(words) = skb.load::<[u16; 8]>(offset) else { return Err(fault!(CT_TRUNCATED)) };
            packet.sport = words[0];
            packet.dport = words[1];
            packet.tcp_flags = words[6].to_ne_bytes()[1];
        }
        UDP | SCTP => {
            let Some(words) = skb.load::<[u16; 4]>(offset) else { return Err(fault!(CT_TRUNCATED)) };
            packet.sport = words[0];
            packet.dport = words[1];
        }
        icmp if icmp == F::ICMP => {
            let Some(words) = skb.load::<[u16; 4]>(offset) else { return Err(fault!(CT_TRUNCATED)) };
            packet.icmp_type = words[0].to_ne_bytes()[0];
            match icmp_role::<F>(packet.icmp_type) {
                IcmpRole::Request => packet.dport = words[2],
                IcmpRole::Reply => packet.sport = words[2],
                IcmpRole::Error => packet.icmp = Icmp::Error,
                IcmpRole::Neighbour => packet.icmp = Icmp::Neighbour,
                IcmpRole::Other => {}
            }
        }
        _ => return Err(fault!(CT_UNKNOWN_PROTOCOL)),
    }
    Ok(())
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
