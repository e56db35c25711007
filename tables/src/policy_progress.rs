//! Table `policy-progress`: how far `policy` has come, one row.
//!
//! What lets `ipcache` keep invariant 9: an address is announced only once policy knows its identity. Written by
//! `policy`; read by `ipcache` and `endpoint`.

use statedb::Row;

/// Everything up to these revisions is reflected in table `policy-map` at its revision `policy_map`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyProgress {
    /// Revision of table `identities`.
    pub identities: u64,
    /// Revision of table `policy-rules`.
    pub rules: u64,
    /// Revision of table `endpoints`.
    pub endpoints: u64,
    /// The revision of table `policy-map` that holds the outcome.
    pub policy_map: u64,
}

impl Row for PolicyProgress {
    type Key = ();
    const TABLE: &'static str = "policy-progress";
    const COLUMNS: &'static [&'static str] = &["IDENTITIES", "RULES", "ENDPOINTS", "POLICY MAP"];

    fn key(&self) {}

    fn cells(&self) -> Vec<String> {
        [self.identities, self.rules, self.endpoints, self.policy_map].map(|revision| revision.to_string()).into()
    }
}
