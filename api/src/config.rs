//! `GET /config`: what CNI needs to know of the node.

use serde::{Deserialize, Serialize};

use crate::FamilyAddress;

/// The agent's configuration, as far as others depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The node's addresses inside the pod network.
    pub addressing: Addressing,
    /// The underlay device's MTU.
    #[serde(rename = "deviceMTU")]
    pub device_mtu: u32,
    /// The MTU of pod routes: what fits through the tunnel.
    #[serde(rename = "routeMTU")]
    pub route_mtu: u32,
    /// How pods are connected: always `veth`.
    #[serde(rename = "datapathMode")]
    pub datapath_mode: String,
}

/// Router addresses and ranges of both families.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressing {
    /// IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<FamilyAddress>,
    /// IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<FamilyAddress>,
}
