//! Table `realized-endpoints`: local endpoints whose traffic flows under their policy.
//!
//! Written by `datapath` when the program is attached, the endpoint's policy set is in the kernel at the revision that
//! reflects it, and its own addresses are in the kernel's ipcache; read by `endpoint`.

use model::{EndpointId, NumericIdentity};
use statedb::Row;

/// What the kernel enforces for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realized {
    /// The endpoint.
    pub id: EndpointId,
    /// The identity under which it runs.
    pub identity: NumericIdentity,
}

impl Row for Realized {
    type Key = EndpointId;
    const TABLE: &'static str = "realized-endpoints";
    const COLUMNS: &'static [&'static str] = &["ENDPOINT", "IDENTITY"];

    fn key(&self) -> EndpointId {
        self.id
    }

    fn cells(&self) -> Vec<String> {
        vec![self.id.to_string(), self.identity.to_string()]
    }
}
