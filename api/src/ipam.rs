//! `POST /ipam`: addresses for a pod.

use serde::{Deserialize, Serialize};

use crate::{AddressPair, Addressing};

/// The addresses that were handed out, and the gateway they are reached by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IpamResponse {
    /// The pod's addresses.
    pub address: AddressPair,
    /// The node's own addresses in the pod network.
    pub host_addressing: Addressing,
}
