//! What differs between IPv4 and IPv6: headers, maps and a few constants.

use crate::{
    globals::{DUAL_STACK, LOOPBACK4, LOOPBACK6, POD_MASK4, POD_MASK6, POD_NET4, POD_NET6, ROUTER4, ROUTER6},
    maps::{self, Backends, Ct, Endpoints, Ipcache, IpcacheLpm, ReverseNats, Services},
    packet::Packet,
};
use ebpf_abi::{Addr4, Addr6, CtKey, Endpoint, ServiceKey, reserved};

/// Length of an Ethernet header.
pub const ETH: u32 = 14;

pub trait Family: Copy + 'static {
    type Addr: Copy + PartialEq;
    /// The fixed IP header.
    type Header: Copy;
    const V6: bool;
    const ETHERTYPE: u16;
    const ICMP: u8;

    /// This CPU's place for a packet.
    fn packet() -> Option<*mut Packet<Self>>;
    fn endpoints() -> &'static Endpoints<Self::Addr>;
    fn ipcache() -> &'static Ipcache<Self::Addr>;
    fn ipcache_lpm() -> &'static IpcacheLpm<Self::Addr>;
    fn ct() -> &'static Ct<CtKey<Self::Addr>>;
    fn services() -> &'static Services<ServiceKey<Self::Addr>>;
    fn backends() -> &'static Backends<Self::Addr>;
    fn reverse_nats() -> &'static ReverseNats<Self::Addr>;
    fn saddr(header: &Self::Header) -> Self::Addr;
    fn daddr(header: &Self::Header) -> Self::Addr;
    /// The address this endpoint may send from.
    fn own(endpoint: &Endpoint) -> Self::Addr;
    fn router() -> Self::Addr;
    fn loopback() -> Self::Addr;
    /// Whether the address lies in the node's pod CIDR; `None`: nobody said which that is.
    fn in_pod_cidr(addr: &Self::Addr) -> Option<bool>;
    /// Identity of an address nobody claims.
    fn world() -> u32;
    /// Link-local or multicast: never routed.
    fn on_link(addr: &Self::Addr) -> bool;
    /// Link-local or unspecified: what a host uses before it has an address.
    fn unbound(addr: &Self::Addr) -> bool;
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Header4 {
    pub version_ihl: u8,
    pub tos: u8,
    pub len: u16,
    pub id: u16,
    pub fragment: u16,
    pub ttl: u8,
    pub proto: u8,
    pub check: u16,
    pub saddr: Addr4,
    pub daddr: Addr4,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Header6 {
    pub flow: u32,
    pub payload_len: u16,
    pub next: u8,
    pub hops: u8,
    pub saddr: Addr6,
    pub daddr: Addr6,
}

#[derive(Clone, Copy)]
pub struct V4;
#[derive(Clone, Copy)]
pub struct V6;

macro_rules! map_accessors {
    ($addr:ty, $endpoints:ident, $ipcache:ident, $lpm:ident, $ct:ident, $services:ident, $backends:ident, $reverse:ident, $packet:ident) => {
        #[inline(always)]
        fn packet() -> Option<*mut Packet<Self>> {
            maps::$packet.get_ptr_mut(0)
        }
        #[inline(always)]
        fn endpoints() -> &'static Endpoints<$addr> {
            &maps::$endpoints
        }
        #[inline(always)]
        fn ipcache() -> &'static Ipcache<$addr> {
            &maps::$ipcache
        }
        #[inline(always)]
        fn ipcache_lpm() -> &'static IpcacheLpm<$addr> {
            &maps::$lpm
        }
        #[inline(always)]
        fn ct() -> &'static Ct<CtKey<$addr>> {
            &maps::$ct
        }
        #[inline(always)]
        fn services() -> &'static Services<ServiceKey<$addr>> {
            &maps::$services
        }
        #[inline(always)]
        fn backends() -> &'static Backends<$addr> {
            &maps::$backends
        }
        #[inline(always)]
        fn reverse_nats() -> &'static ReverseNats<$addr> {
            &maps::$reverse
        }
    };
}

impl Family for V4 {
    type Addr = Addr4;
    type Header = Header4;
    const V6: bool = false;
    const ETHERTYPE: u16 = 0x0800;
    const ICMP: u8 = 1;

    map_accessors!(Addr4, ENDPOINTS4, IPCACHE4, IPCACHE_LPM4, CT4, SERVICES4, BACKENDS4, REVERSE_NAT4, PACKET4);

    #[inline(always)]
    fn saddr(header: &Header4) -> Addr4 {
        header.saddr
    }
    #[inline(always)]
    fn daddr(header: &Header4) -> Addr4 {
        header.daddr
    }
    #[inline(always)]
    fn own(endpoint: &Endpoint) -> Addr4 {
        endpoint.addr4
    }
    #[inline(always)]
    fn router() -> Addr4 {
        ROUTER4.load()
    }
    #[inline(always)]
    fn loopback() -> Addr4 {
        LOOPBACK4.load()
    }
    #[inline(always)]
    fn world() -> u32 {
        if DUAL_STACK.load() != 0 { reserved::WORLD_IPV4 } else { reserved::WORLD }
    }
    #[inline(always)]
    fn in_pod_cidr(addr: &Addr4) -> Option<bool> {
        let mask = POD_MASK4.load();
        if mask == 0 { None } else { Some(*addr & mask == POD_NET4.load()) }
    }
    #[inline(always)]
    fn on_link(addr: &Addr4) -> bool {
        let first = u32::from_be(*addr) >> 24;
        first >= 224
    }
    #[inline(always)]
    fn unbound(_addr: &Addr4) -> bool {
        false
    }
}

impl Family for V6 {
    type Addr = Addr6;
    type Header = Header6;
    const V6: bool = true;
    const ETHERTYPE: u16 = 0x86dd;
    const ICMP: u8 = 58;

    map_accessors!(Addr6, ENDPOINTS6, IPCACHE6, IPCACHE_LPM6, CT6, SERVICES6, BACKENDS6, REVERSE_NAT6, PACKET6);

    #[inline(always)]
    fn saddr(header: &Header6) -> Addr6 {
        header.saddr
    }
    #[inline(always)]
    fn daddr(header: &Header6) -> Addr6 {
        header.daddr
    }
    #[inline(always)]
    fn own(endpoint: &Endpoint) -> Addr6 {
        endpoint.addr6
    }
    #[inline(always)]
    fn router() -> Addr6 {
        ROUTER6.load()
    }
    #[inline(always)]
    fn loopback() -> Addr6 {
        LOOPBACK6.load()
    }
    #[inline(always)]
    fn world() -> u32 {
        if DUAL_STACK.load() != 0 { reserved::WORLD_IPV6 } else { reserved::WORLD }
    }
    #[inline(always)]
    fn in_pod_cidr(addr: &Addr6) -> Option<bool> {
        let (mask, net) = (POD_MASK6.load(), POD_NET6.load());
        if mask[0] == 0 {
            return None;
        }
        let differs = ((addr[0] & mask[0]) ^ net[0])
            | ((addr[1] & mask[1]) ^ net[1])
            | ((addr[2] & mask[2]) ^ net[2])
            | ((addr[3] & mask[3]) ^ net[3]);
        Some(differs == 0)
    }
    #[inline(always)]
    fn on_link(addr: &Addr6) -> bool {
        let top = u32::from_be(addr[0]);
        top >> 24 == 0xff || top >> 22 == 0xfe80 >> 6
    }
    #[inline(always)]
    fn unbound(addr: &Addr6) -> bool {
        u32::from_be(addr[0]) >> 22 == 0xfe80 >> 6 || (addr[0] | addr[1] | addr[2] | addr[3]) == 0
    }
}
