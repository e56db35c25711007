//! Addresses and ports between their two worlds.

use ebpf_abi::{Addr4, Addr6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) fn addr4(ip: Ipv4Addr) -> Addr4 {
    u32::from_ne_bytes(ip.octets())
}

pub(crate) fn addr6(ip: Ipv6Addr) -> Addr6 {
    let octets = ip.octets();
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(octets.chunks_exact(4)) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    words
}

pub(crate) fn ip4(addr: Addr4) -> Ipv4Addr {
    Ipv4Addr::from(addr.to_ne_bytes())
}

pub(crate) fn ip6(addr: Addr6) -> Ipv6Addr {
    let mut octets = [0; 16];
    for (bytes, word) in octets.chunks_exact_mut(4).zip(addr) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    Ipv6Addr::from(octets)
}

/// An address of either family, as the maps of that family hold it.
pub(crate) trait Address: ebpf_abi::Plain {
    fn ip(self) -> IpAddr;
}

impl Address for Addr4 {
    fn ip(self) -> IpAddr {
        IpAddr::V4(ip4(self))
    }
}

impl Address for Addr6 {
    fn ip(self) -> IpAddr {
        IpAddr::V6(ip6(self))
    }
}
