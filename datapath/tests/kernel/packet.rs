//! Packets made by hand, with correct checksums, and taken apart again.

use std::net::{IpAddr, SocketAddr};

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

pub(crate) const POD_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// An Ethernet frame around an IP packet.
pub(crate) fn frame(packet: &[u8]) -> Vec<u8> {
    let mut frame = Vec::from(NODE_MAC);
    frame.extend(POD_MAC);
    frame.extend(if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
    frame.extend(packet);
    frame
}

pub(crate) fn tcp(src: SocketAddr, dst: SocketAddr, flags: u8) -> Vec<u8> {
    let mut l4 = ports(src, dst);
    l4.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    l4.extend([0x41; 64]);
    ip(src.ip(), dst.ip(), 6, &l4)
}

pub(crate) fn udp(src: SocketAddr, dst: SocketAddr) -> Vec<u8> {
    let mut l4 = ports(src, dst);
    l4.extend([0, 24, 0, 0]);
    l4.extend([0x42; 16]);
    ip(src.ip(), dst.ip(), 17, &l4)
}

/// An echo request, or its reply.
pub(crate) fn echo(src: IpAddr, dst: IpAddr, request: bool, id: u16) -> Vec<u8> {
    let kind = match (src.is_ipv4(), request) {
        (true, true) => 8,
        (true, false) => 0,
        (false, true) => 128,
        (false, false) => 129,
    };
    let mut l4 = vec![kind, 0, 0, 0];
    l4.extend(id.to_be_bytes());
    l4.extend([0, 1]);
    l4.extend([0x43; 32]);
    ip(src, dst, icmp(src), &l4)
}

/// "Destination unreachable" about `inner`, an IP packet.
pub(crate) fn unreachable(src: IpAddr, dst: IpAddr, inner: &[u8]) -> Vec<u8> {
    let mut l4 = vec![if src.is_ipv4() { 3 } else { 1 }, 1, 0, 0, 0, 0, 0, 0];
    l4.extend(&inner[..inner.len().min(if src.is_ipv4() { 28 } else { 56 })]);
    ip(src, dst, icmp(src), &l4)
}

/// Neighbour solicitation.
pub(crate) fn solicitation(src: IpAddr, dst: IpAddr) -> Vec<u8> {
    let mut l4 = vec![135, 0, 0, 0, 0, 0, 0, 0];
    l4.extend([0; 16]);
    ip(src, dst, 58, &l4)
}

fn icmp(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 1 } else { 58 }
}

fn ports(src: SocketAddr, dst: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::from(src.port().to_be_bytes());
    bytes.extend(dst.port().to_be_bytes());
    bytes
}

/// An IP packet of any protocol; checksums of those we know are filled in.
pub(crate) fn ip(src: IpAddr, dst: IpAddr, proto: u8, l4: &[u8]) -> Vec<u8> {
    let mut packet = header(src, dst, proto, l4.len());
    let at = packet.len();
    packet.extend(l4);
    if let Some(offset) = checksum_offset(proto) {
        packet[at + offset..at + offset + 2].copy_from_slice(&[0, 0]);
        let sum = l4_checksum(&packet, at, proto);
        packet[at + offset..at + offset + 2].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

fn header(src: IpAddr, dst: IpAddr, proto: u8, length: usize) -> Vec<u8> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header = vec![0x45, 0];
            header.extend(((20 + length) as u16).to_be_bytes());
            header.extend([0, 1, 0, 0, 64, proto, 0, 0]);
            header.extend(src.octets());
            header.extend(dst.octets());
            fix_header(&mut header);
            header
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((length as u16).to_be_bytes());
            header.extend([proto, 64]);
            header.extend(src.octets());
            header.extend(dst.octets());
            header
        }
        _ => panic!("addresses of one family"),
    }
}

/// Recomputes an IPv4 header's checksum after a change.
pub(crate) fn fix_header(packet: &mut [u8]) {
    packet[10..12].copy_from_slice(&[0, 0]);
    let sum = !fold(sum(&packet[..20]));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn checksum_offset(proto: u8) -> Option<usize> {
    match proto {
        6 => Some(16),
        17 => Some(6),
        1 | 58 => Some(2),
        _ => None,
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn l4_checksum(packet: &[u8], at: usize, proto: u8) -> u16 {
    let mut total = sum(&packet[at..]);
    if proto != 1 {
        let addresses = if packet[0] >> 4 == 4 { &packet[12..20] } else { &packet[8..40] };
        total += sum(addresses) + u32::from(proto) + (packet.len() - at) as u32;
    }
    match !fold(total) {
        0 if proto == 17 => 0xffff,
        sum => sum,
    }
}

/// What a frame says, after its checksums were found right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) macs: [u8; 12],
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) ttl: u8,
}

pub(crate) fn look(frame: &[u8]) -> Seen {
    let packet = &frame[14..];
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let (src, dst, ttl, proto, at): (IpAddr, IpAddr, u8, u8, usize) = if packet[0] >> 4 == 4 {
        assert_eq!(fold(sum(&packet[..20])), 0xffff, "IPv4 header checksum");
        let ip = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
        (ip(12), ip(16), packet[8], packet[9], 20)
    } else {
        let ip = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
        (ip(8), ip(24), packet[7], packet[6], 40)
    };
    if let Some(offset) = checksum_offset(proto) {
        let mut copy = packet.to_vec();
        copy[at + offset..at + offset + 2].copy_from_slice(&[0, 0]);
        assert_eq!(l4_checksum(&copy, at, proto), word(at + offset), "L4 checksum");
    }
    let (sport, dport) = if proto == 6 || proto == 17 { (word(at), word(at + 2)) } else { (0, 0) };
    Seen {
        macs: frame[..12].try_into().unwrap(),
        src: SocketAddr::new(src, sport),
        dst: SocketAddr::new(dst, dport),
        ttl,
    }
}
