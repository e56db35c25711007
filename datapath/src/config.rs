//! What the agent decides before the programs are loaded.

use crate::devices;
use ipnet::IpNet;
use model::Prefix;
use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

/// Bytes that VXLAN over IPv4 adds to a packet.
const OVERHEAD: u32 = 50;

/// The node's side of the datapath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory of the pins, on a bpffs (`--bpf-root`).
    pub bpf_root: PathBuf,
    /// Addresses of `causeway_host`; the families the node has.
    pub router_ipv4: Option<Ipv4Addr>,
    pub router_ipv6: Option<Ipv6Addr>,
    /// The node's pod CIDRs.
    pub pod_cidrs: Vec<Prefix>,
    /// MTU of the device under the overlay.
    pub device_mtu: u32,
    /// `--tunnel-port`.
    pub tunnel_port: u16,
    /// `--policy-audit-mode`: verdicts are reported, not enforced.
    pub audit: bool,
    /// Source that a pod sees when a service leads it back to itself.
    pub loopback_ipv4: Ipv4Addr,
    pub loopback_ipv6: Ipv6Addr,
    /// Lives of flows (`--bpf-ct-timeout-*`).
    pub timeouts: Timeouts,
    /// Rows of each conntrack map (`--bpf-ct-global-any-max` and its siblings are one value here).
    pub conntrack_max: u32,
    /// Rows of each exact ipcache map.
    pub ipcache_max: u32,
    /// `--bpf-policy-map-max`: rows of each policy set that is made from now on.
    pub policy_max: u32,
}

/// How long a flow may stay silent, in seconds. The defaults are Cilium 1.20's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP once a packet without SYN was seen.
    pub tcp_secs: u64,
    /// TCP until then.
    pub syn_secs: u64,
    /// TCP after both ends closed.
    pub close_secs: u64,
    /// Everything else.
    pub any_secs: u64,
    /// `--monitor-aggregation-interval`: how often a quiet flow is reported.
    pub report_secs: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { tcp_secs: 8000, syn_secs: 60, close_secs: 10, any_secs: 60, report_secs: 5 }
    }
}

impl Config {
    /// The defaults, with pins below `bpf_root`.
    #[must_use]
    pub fn new(bpf_root: impl Into<PathBuf>) -> Self {
        Self {
            bpf_root: bpf_root.into(),
            router_ipv4: None,
            router_ipv6: None,
            pod_cidrs: Vec::new(),
            device_mtu: 1500,
            tunnel_port: 8472,
            audit: false,
            loopback_ipv4: Ipv4Addr::new(169, 254, 42, 1),
            // Not link-local, as its IPv4 sibling is: a link-local source would be answered on the link.
            loopback_ipv6: Ipv6Addr::new(0xfd42, 0xa9fe, 0x2a, 0, 0, 0, 0, 1),
            timeouts: Timeouts::default(),
            conntrack_max: ebpf_abi::maps::CT_MAX as u32,
            ipcache_max: ebpf_abi::maps::IPCACHE_MAX as u32,
            policy_max: ebpf_abi::maps::POLICY_MAX as u32,
        }
    }

    /// MTU of pods' routes.
    #[must_use]
    pub fn route_mtu(&self) -> u32 {
        self.device_mtu.saturating_sub(OVERHEAD)
    }

    /// Network and mask of the first IPv4 pod CIDR. Later ones are served too, a little slower.
    #[must_use]
    pub(crate) fn pod_cidr4(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        self.pod_cidrs.iter().find_map(|cidr| match devices::net(*cidr) {
            IpNet::V4(net) => Some((net.network(), net.netmask())),
            IpNet::V6(_) => None,
        })
    }

    /// The same for IPv6.
    #[must_use]
    pub(crate) fn pod_cidr6(&self) -> Option<(Ipv6Addr, Ipv6Addr)> {
        self.pod_cidrs.iter().find_map(|cidr| match devices::net(*cidr) {
            IpNet::V6(net) => Some((net.network(), net.netmask())),
            IpNet::V4(_) => None,
        })
    }

    /// Both families are in use: strangers are told apart by family.
    #[must_use]
    pub fn dual_stack(&self) -> bool {
        self.router_ipv4.is_some() && self.router_ipv6.is_some()
    }
}
