//! Table `frontends`: the addresses that are load balanced, each with the backends chosen for it.
//!
//! Written by `loadbalancer`; read by `datapath` (which numbers them: numbers are local to a node and restored from its
//! maps) and the API.

use model::{Backend, L3n4Addr, ServiceName};
use statedb::{Index, Row};

/// A service address and who answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Frontend {
    /// The address, port and protocol.
    pub addr: L3n4Addr,
    /// The service.
    pub service: ServiceName,
    /// The backends that new connections may go to, sorted by address; empty means refusal.
    pub backends: Vec<Backend>,
    /// Backends that only connections they already have may go to.
    pub draining: Vec<Backend>,
}

impl Row for Frontend {
    type Key = L3n4Addr;
    const TABLE: &'static str = "frontends";
    const COLUMNS: &'static [&'static str] = &["FRONTEND", "SERVICE", "BACKENDS"];
    const INDEXES: &'static [Index<Self>] =
        &[Index { name: "service", keys: |row, add| add(row.service.to_string().as_str().into()) }];

    fn key(&self) -> L3n4Addr {
        self.addr
    }

    fn cells(&self) -> Vec<String> {
        let show = |backend: &Backend| format!("{} ({})", backend.addr, backend.state);
        let backends = self.backends.iter().chain(&self.draining).map(show).collect::<Vec<_>>();
        vec![self.addr.to_string(), self.service.to_string(), backends.join(", ")]
    }
}
