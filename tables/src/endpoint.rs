//! Table `endpoints`: the pods of this node.
//!
//! Written by `endpoint`; read by `datapath`, `ipcache`, `policy`, the exporter of ip keys and the API.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use model::{EndpointId, Labels, NamedPort, NumericIdentity};
use statedb::{Index, Row};

use crate::cell;

/// A local endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Its number on this node.
    pub id: EndpointId,
    /// The container runtime's id of the sandbox.
    pub container_id: Arc<str>,
    /// The path of the sandbox's network namespace.
    pub netns: Arc<str>,
    /// The interface's name in the pod.
    pub container_ifname: Arc<str>,
    /// The interface's name on the host: `lxc...`.
    pub host_ifname: Arc<str>,
    /// The host interface's index.
    pub host_ifindex: u32,
    /// The pod side's address.
    pub mac: MacAddr,
    /// The host side's address.
    pub host_mac: MacAddr,
    /// The pod's IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// The pod's IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// The pod's namespace.
    pub namespace: Arc<str>,
    /// The pod's name.
    pub pod_name: Arc<str>,
    /// The pod's service account; empty until the Pod object is known.
    pub service_account: Arc<str>,
    /// The pod's named ports.
    pub named_ports: Vec<NamedPort>,
    /// The labels that decide its identity.
    pub labels: Labels,
    /// Its identity, once there is one. It also names the endpoint's set of policy rows.
    pub identity: Option<NumericIdentity>,
    /// Where it stands.
    pub state: EndpointState,
}

/// Where an endpoint stands in its life; Cilium's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointState {
    /// Asked for by CNI, its identity is not known yet.
    WaitingForIdentity,
    /// Its identity is known; policy and datapath are being written.
    Regenerating,
    /// Traffic flows under its policy.
    Ready,
    /// Read from disk after a restart; forwards as before.
    Restoring,
    /// On its way out.
    Disconnecting,
}

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

// === impl Endpoint ===

impl Endpoint {
    /// Its addresses of both families.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let (ipv4, ipv6) = (self.ipv4.map(IpAddr::V4), self.ipv6.map(IpAddr::V6));
        ipv4.into_iter().chain(ipv6)
    }
}

impl Row for Endpoint {
    type Key = EndpointId;
    const TABLE: &'static str = "endpoints";
    const COLUMNS: &'static [&'static str] =
        &["ENDPOINT", "IDENTITY", "LABELS", "POD", "IPv6", "IPv4", "INTERFACE", "STATUS"];
    const INDEXES: &'static [Index<Self>] = &[
        Index { name: "container", keys: |row, add| add((&*row.container_id).into()) },
        Index { name: "pod", keys: |row, add| add(format!("{}/{}", row.namespace, row.pod_name).as_str().into()) },
        Index { name: "ip", keys: |row, add| row.ips().for_each(|ip| add(ip.to_string().as_str().into())) },
        Index {
            name: "identity",
            keys: |row, add| {
                if let Some(identity) = row.identity {
                    add(identity.get().into());
                }
            },
        },
    ];

    fn key(&self) -> EndpointId {
        self.id
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            cell(self.identity),
            self.labels.to_string(),
            format!("{}/{}", self.namespace, self.pod_name),
            cell(self.ipv6),
            cell(self.ipv4),
            self.host_ifname.to_string(),
            self.state.to_string(),
        ]
    }
}

// === impl EndpointState ===

impl EndpointState {
    /// Cilium's name of the state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WaitingForIdentity => "waiting-for-identity",
            Self::Regenerating => "regenerating",
            Self::Ready => "ready",
            Self::Restoring => "restoring",
            Self::Disconnecting => "disconnecting",
        }
    }
}

impl fmt::Display for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl MacAddr ===

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for MacAddr {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(InvalidMac)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| InvalidMac)?;
        }
        if parts.next().is_some() { Err(InvalidMac) } else { Ok(Self(bytes)) }
    }
}

/// A hardware address is six pairs of hexadecimal digits joined by colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidMac;

impl fmt::Display for InvalidMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hardware address is six pairs of hexadecimal digits joined by colons")
    }
}

impl std::error::Error for InvalidMac {}
