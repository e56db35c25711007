//! `/ip`: prefixes and the identities behind them.

use serde::{Deserialize, Serialize};

/// A prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpEntry {
    /// The prefix; `/32` or `/128` for an address.
    pub cidr: String,
    /// Its identity.
    pub identity: u32,
    /// The node to tunnel to.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    /// The encryption key index.
    #[serde(rename = "encryptKey")]
    pub encrypt_key: u8,
    /// Where the entry comes from.
    pub metadata: IpMetadata,
}

/// Where an entry comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpMetadata {
    /// The source that won.
    pub source: String,
    /// The pod's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
