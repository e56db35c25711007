//! Table `ipcache`: for each prefix the one winning claim, as the datapath shall know it.
//!
//! Written by `ipcache`; read by `datapath`, `policy` (an identity leaves policy only after its last prefix) and the
//! API.

use std::net::IpAddr;

use model::{NumericIdentity, Prefix};
use statedb::{Index, Row};

use crate::{Origin, cell};

/// What packets from and to a prefix carry.
#[derive(Debug, Clone, PartialEq)]
pub struct IpcacheRow {
    /// The prefix.
    pub prefix: Prefix,
    /// Its security identity.
    pub identity: NumericIdentity,
    /// The node to tunnel to; none for what lies on this node or outside all clusters.
    pub tunnel_endpoint: Option<IpAddr>,
    /// The encryption key index, 0 for none.
    pub encrypt_key: u8,
    /// The revision of table `policy-map` that must be realised before this row: it knows the identity.
    pub policy_revision: u64,
    /// Whose claim won.
    pub origin: Origin,
}

impl Row for IpcacheRow {
    type Key = Prefix;
    const TABLE: &'static str = "ipcache";
    const COLUMNS: &'static [&'static str] = &["IP PREFIX", "IDENTITY", "TUNNEL ENDPOINT", "POLICY REVISION", "ORIGIN"];
    const INDEXES: &'static [Index<Self>] =
        &[Index { name: "identity", keys: |row, add| add(row.identity.get().into()) }];

    fn key(&self) -> Prefix {
        self.prefix
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.prefix.to_string(),
            self.identity.to_string(),
            cell(self.tunnel_endpoint),
            self.policy_revision.to_string(),
            self.origin.to_string(),
        ]
    }
}
