//! `/endpoint/{id}/log` and `/endpoint/{id}/healthz`.

use serde::{Deserialize, Serialize};

/// A change of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointChange {
    /// Milliseconds since 1970.
    pub time: u64,
    /// The endpoint's state from then on.
    pub state: String,
    /// Why.
    pub reason: String,
}

/// How an endpoint stands, part by part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EndpointHealth {
    /// The worst of what follows: `OK`, `Pending`, `Failure`.
    pub overall_health: String,
    /// Whether its programs and its rows are in the kernel.
    pub bpf: String,
    /// Whether its policy is.
    pub policy: String,
    /// Whether it is connected: packets pass.
    pub connected: bool,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
}
