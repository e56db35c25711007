//! Table `cidr-identities`: the ranges that policies name, with their numbers on this node.
//!
//! Written by `identity-allocator`, after the identity itself; read by `ipcache`.

use model::{NumericIdentity, Prefix};
use statedb::Row;

/// A range and its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CidrIdentity {
    /// The range.
    pub prefix: Prefix,
    /// Its number, in the scope of this node.
    pub identity: NumericIdentity,
}

impl Row for CidrIdentity {
    type Key = Prefix;
    const TABLE: &'static str = "cidr-identities";
    const COLUMNS: &'static [&'static str] = &["IP PREFIX", "IDENTITY"];

    fn key(&self) -> Prefix {
        self.prefix
    }

    fn cells(&self) -> Vec<String> {
        vec![self.prefix.to_string(), self.identity.to_string()]
    }
}
