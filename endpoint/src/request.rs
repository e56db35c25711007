//! What CNI asks for.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tables::MacAddr;

/// A sandbox that shall become an endpoint; its interfaces exist, its addresses are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest {
    /// The container runtime's id of the sandbox.
    pub container_id: Arc<str>,
    /// The path of its network namespace.
    pub netns: Arc<str>,
    /// The interface's name in it.
    pub container_ifname: Arc<str>,
    /// The host side's name.
    pub host_ifname: Arc<str>,
    /// The host side's index.
    pub host_ifindex: u32,
    /// The pod side's address.
    pub mac: MacAddr,
    /// The host side's address.
    pub host_mac: MacAddr,
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// The pod's namespace.
    pub namespace: Arc<str>,
    /// The pod's name.
    pub pod_name: Arc<str>,
}
