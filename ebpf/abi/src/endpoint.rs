//! Local endpoints, by host interface and by address.
#![expect(unsafe_code, reason = "Plain is an unsafe trait")]

use crate::{Addr4, Addr6, layout};

/// State bits of an endpoint.
pub struct EndpointFlags;

impl EndpointFlags {
    /// Drop whatever it sends or receives: its policy does not fit the map.
    pub const LOCKDOWN: u16 = 1;
}

/// One pod. The same value stands in `ifaces` and, for each of its addresses, in `endpoints*`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Host side of its veth.
    pub ifindex: u32,
    /// Its security identity, which is also the id of its policy set.
    pub identity: u32,
    pub id: u16,
    /// [`EndpointFlags`].
    pub flags: u16,
    /// Destination and source of frames that enter the pod: its own MAC, then its host side's.
    pub macs: [u32; 3],
    /// The only sources it may use; zero for none.
    pub addr4: Addr4,
    pub addr6: Addr6,
}
layout!(Endpoint, 44, 4);
