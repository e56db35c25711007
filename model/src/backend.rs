//! One place where a service is answered.

use std::fmt;

use crate::{ClusterId, L3n4Addr, Source};

/// At most one per service, address and source cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    pub addr: L3n4Addr,
    /// The names of the service ports that it answers; none for a single unnamed port.
    pub port_names: Vec<String>,
    pub state: BackendState,
    pub zone: Option<String>,
    /// The cluster that announced it; `NONE` for our own.
    pub cluster_id: ClusterId,
    pub source: Source,
}

/// Only active backends get new connections while there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum BackendState {
    #[default]
    Active,
    /// Still answers, about to leave: used for new connections only if none is active.
    Terminating,
    Quarantined,
    Maintenance,
}

// === impl BackendState ===

impl BackendState {
    /// From the conditions of a Kubernetes endpoint: ready wins over terminating; serving and terminating drains; the
    /// rest keeps its place without traffic.
    pub fn of_conditions(ready: Option<bool>, serving: Option<bool>, terminating: Option<bool>) -> Self {
        let ready = ready.unwrap_or(true);
        match (ready, serving.unwrap_or(ready), terminating.unwrap_or(false)) {
            (true, ..) => Self::Active,
            (false, true, true) => Self::Terminating,
            _ => Self::Maintenance,
        }
    }

    /// Active or terminating: it answers.
    pub fn is_healthy(self) -> bool {
        matches!(self, Self::Active | Self::Terminating)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Terminating => "terminating",
            Self::Quarantined => "quarantined",
            Self::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for BackendState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
