//! Table `ips`: what every store says about an address. Several stores may claim the same one.
//!
//! Written by `reflector` (own cluster) and `clustermesh` (remote clusters); read by `ipcache` and `loadbalancer`.

use model::{IpEntry, Prefix};
use statedb::{Index, Row};

use crate::{Origin, cell};

/// One store's claim about a prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct IpClaim {
    /// Who claims.
    pub origin: Origin,
    /// What is claimed.
    pub entry: IpEntry,
}

impl Row for IpClaim {
    type Key = (Prefix, Origin);
    const TABLE: &'static str = "ips";
    const COLUMNS: &'static [&'static str] = &["IP", "IDENTITY", "HOST", "POD", "ORIGIN"];
    const COUNTED: &'static [&'static str] = &["cluster"];
    const INDEXES: &'static [Index<Self>] = &[
        Index { name: "cluster", keys: |row, add| add(row.origin.cluster.shared().into()) },
        Index { name: "identity", keys: |row, add| add(row.entry.identity.get().into()) },
    ];

    fn key(&self) -> Self::Key {
        (self.entry.prefix, self.origin.clone())
    }

    fn cells(&self) -> Vec<String> {
        let pod = match (self.entry.texts.namespace(), self.entry.texts.pod_name()) {
            (Some(namespace), Some(pod)) => format!("{namespace}/{pod}"),
            _ => String::new(),
        };
        vec![
            self.entry.prefix.to_string(),
            self.entry.identity.to_string(),
            cell(self.entry.host_ip),
            pod,
            self.origin.to_string(),
        ]
    }
}
