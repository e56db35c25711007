//! An event of `monitor.sock`: one JSON object a line.

use serde::{Deserialize, Serialize};

/// What the datapath saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds since 1970.
    #[serde(default)]
    pub time: u64,
    /// `drop`, `trace`, `policy-verdict` or `agent`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Drop reason, trace point, or verdict.
    pub summary: String,
    /// The drop reason's number, or 0.
    #[serde(default)]
    pub reason: u8,
    /// `ingress` or `egress` where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// The local endpoint that the program ran for.
    pub endpoint: u16,
    /// The local endpoint that sent the packet, or 0.
    #[serde(default)]
    pub source_endpoint: u16,
    /// The local endpoint that it is for, or 0.
    #[serde(default)]
    pub destination_endpoint: u16,
    /// Who sent the packet.
    pub source: LabelledIdentity,
    /// Who it is for.
    pub destination: LabelledIdentity,
    /// The packet's headers, where it could be parsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuple: Option<EventTuple>,
    /// The packet's length.
    pub bytes: u32,
    /// What else the program said, such as where it dropped or what part of a rule matched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
}

/// An identity with its labels, as the agent knows them now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelledIdentity {
    /// The number.
    pub identity: u32,
    /// `source:key=value`; empty when the identity is not known.
    pub labels: Vec<String>,
}

/// Addresses and ports of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTuple {
    /// Source address.
    pub source: String,
    /// Source port.
    pub source_port: u16,
    /// Destination address.
    pub destination: String,
    /// Destination port.
    pub destination_port: u16,
    /// Protocol name or number.
    pub protocol: String,
}
