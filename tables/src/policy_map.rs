//! Table `policy-map`: the rows of every policy set, as the datapath shall hold them.
//!
//! A set is named by the identity of the endpoints that it protects, so endpoints with equal labels share one. Written
//! by `policy`; read by `datapath` and the API.

use std::sync::Arc;

use model::{Direction, NumericIdentity, PortProto};
use statedb::{Index, Row};

/// The key of a policy row. Ports are single: 0 with `Protocol::Any` covers every packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// The policy set: the identity of the endpoints it protects.
    pub set: NumericIdentity,
    /// Which way the packet goes, seen from the endpoint.
    pub direction: Direction,
    /// The peer's identity; 0 for any.
    pub remote: NumericIdentity,
    /// The protocol and destination port; port 0 for any, and then `Any` for any protocol.
    pub port: PortProto,
}

/// One row: what happens to packets of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyMapRow {
    /// Which packets.
    pub key: PolicyKey,
    /// Whether they are dropped.
    pub deny: bool,
    /// Higher wins; the low byte is 255 for deny, 1 for allow (reference/datapath.md section 3).
    pub precedence: u32,
    /// The objects that ask for it, for explanations; empty for rows that no policy asked for.
    pub derived_from: Arc<[Arc<str>]>,
}

impl Row for PolicyMapRow {
    type Key = PolicyKey;
    const TABLE: &'static str = "policy-map";
    const COLUMNS: &'static [&'static str] =
        &["SET", "POLICY", "DIRECTION", "IDENTITY", "PORT/PROTO", "PRECEDENCE", "DERIVED FROM"];
    const INDEXES: &'static [Index<Self>] =
        &[Index { name: "remote", keys: |row, add| add(row.key.remote.get().into()) }];

    fn key(&self) -> PolicyKey {
        self.key
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.key.set.to_string(),
            if self.deny { "Deny" } else { "Allow" }.to_owned(),
            self.key.direction.to_string(),
            self.key.remote.to_string(),
            self.key.port.to_string(),
            format!("{:#x}", self.precedence),
            self.derived_from.join(","),
        ]
    }
}
