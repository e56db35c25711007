//! `/service`: the addresses that are load balanced.

use serde::{Deserialize, Serialize};

/// A frontend with its backends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Service {
    /// Its number in the kernel's maps; absent until it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// The service's namespace.
    pub namespace: String,
    /// The service's name.
    pub name: String,
    /// Always `ClusterIP` for now.
    pub service_type: String,
    /// The address.
    pub frontend_address: FrontendAddress,
    /// Who answers.
    pub backend_addresses: Vec<Backend>,
}

/// An address, port and protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontendAddress {
    /// The address.
    pub ip: String,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: String,
}

/// A backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// The address.
    pub ip: String,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: String,
    /// Its state.
    pub state: String,
    /// The cluster's number, 0 for our own.
    #[serde(rename = "clusterID")]
    pub cluster_id: u32,
}
