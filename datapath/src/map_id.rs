//! Which map an operation means.

use ebpf_abi::{MapSpec, maps};
use std::fmt;

/// A map of the datapath: one of the pinned ones, or one policy set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapId {
    Ifaces,
    Endpoints4,
    Endpoints6,
    Ipcache4,
    Ipcache6,
    IpcacheLpm4,
    IpcacheLpm6,
    /// The outer map: policy set id to set.
    Policy,
    /// The rows of one policy set.
    PolicySet(u32),
    Ct4,
    Ct6,
    Services4,
    Services6,
    Backends4,
    Backends6,
    ReverseNat4,
    ReverseNat6,
    Metrics,
    Config,
}

impl MapId {
    /// The maps of flows, which the programs write.
    pub const CONNTRACK: [Self; 2] = [Self::Ct4, Self::Ct6];

    /// The pinned maps whose rows come and go.
    pub const BOUNDED: [Self; 16] = [
        Self::Ifaces,
        Self::Endpoints4,
        Self::Endpoints6,
        Self::Ipcache4,
        Self::Ipcache6,
        Self::IpcacheLpm4,
        Self::IpcacheLpm6,
        Self::Policy,
        Self::Ct4,
        Self::Ct6,
        Self::Services4,
        Self::Services6,
        Self::Backends4,
        Self::Backends6,
        Self::ReverseNat4,
        Self::ReverseNat6,
    ];

    /// The layout.
    pub fn spec(self) -> &'static MapSpec {
        match self {
            Self::Ifaces => &maps::IFACES,
            Self::Endpoints4 => &maps::ENDPOINTS4,
            Self::Endpoints6 => &maps::ENDPOINTS6,
            Self::Ipcache4 => &maps::IPCACHE4,
            Self::Ipcache6 => &maps::IPCACHE6,
            Self::IpcacheLpm4 => &maps::IPCACHE_LPM4,
            Self::IpcacheLpm6 => &maps::IPCACHE_LPM6,
            Self::Policy => &maps::POLICY,
            Self::PolicySet(_) => &maps::POLICY_SET,
            Self::Ct4 => &maps::CT4,
            Self::Ct6 => &maps::CT6,
            Self::Services4 => &maps::SERVICES4,
            Self::Services6 => &maps::SERVICES6,
            Self::Backends4 => &maps::BACKENDS4,
            Self::Backends6 => &maps::BACKENDS6,
            Self::ReverseNat4 => &maps::REVERSE_NAT4,
            Self::ReverseNat6 => &maps::REVERSE_NAT6,
            Self::Metrics => &maps::METRICS,
            Self::Config => &maps::CONFIG,
        }
    }

    pub(crate) fn key_len(self) -> usize {
        self.spec().key as usize
    }

    pub(crate) fn value_len(self) -> usize {
        self.spec().value as usize
    }
}

impl fmt::Display for MapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PolicySet(set) => write!(f, "policy set {set}"),
            other => f.write_str(other.spec().name),
        }
    }
}
