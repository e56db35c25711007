//! Table `exports`: the etcd keys that this process owns.
//!
//! Written by the controllers of the agent and the operator; read by `reflector`, which keeps etcd equal to it.

use std::sync::Arc;

use statedb::Row;

/// A key of ours and the bytes it shall have.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// The whole key.
    pub key: Arc<str>,
    /// The exact bytes of its value.
    pub value: Arc<[u8]>,
    /// Whether the key goes when this process is gone for a lease TTL.
    pub leased: bool,
}

impl Row for Export {
    type Key = Arc<str>;
    const TABLE: &'static str = "exports";
    const COLUMNS: &'static [&'static str] = &["KEY", "LEASED", "VALUE"];

    fn key(&self) -> Arc<str> {
        Arc::clone(&self.key)
    }

    fn cells(&self) -> Vec<String> {
        vec![self.key.to_string(), self.leased.to_string(), String::from_utf8_lossy(&self.value).into_owned()]
    }
}
