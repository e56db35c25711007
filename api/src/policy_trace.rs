//! `/policy/explain`: why a connection is let through or not.

use serde::{Deserialize, Serialize};

/// The verdict on a connection between two parties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyTrace {
    /// Who opens the connection.
    pub source: TraceParty,
    /// Whom it is for.
    pub destination: TraceParty,
    /// Destination port and protocol.
    pub port: String,
    /// What stands between what was asked and this answer, such as a service's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Both directions together.
    pub verdict: TraceVerdict,
    /// At the source.
    pub egress: TraceDirection,
    /// At the destination.
    pub ingress: TraceDirection,
}

/// One end of a connection, as the agent knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TraceParty {
    /// What it was asked for by, or its pod's name.
    pub name: String,
    /// Its number, where it is an endpoint of this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<u16>,
    /// Its identity; 0 for labels that no identity has.
    pub identity: u32,
    /// Its labels.
    pub labels: Vec<String>,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceVerdict {
    /// It passes.
    Allowed,
    /// It is dropped.
    Denied,
    /// Another cluster decides, by rules that are not known here.
    Elsewhere,
}

/// The verdict at one end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TraceDirection {
    /// The verdict.
    pub verdict: TraceVerdict,
    /// Why, a sentence.
    pub reason: String,
    /// Rules that decide: namespace, name, file and line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decided_by: Vec<String>,
    /// Further rules that allow it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_allowed_by: Vec<String>,
    /// Rules that make everything else be dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enforced_by: Vec<String>,
    /// Rules that nearly allow it, with what is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
    /// What would change it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
    /// What this node's kernel does now, where the endpoint is one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<TraceVerdict>,
}
