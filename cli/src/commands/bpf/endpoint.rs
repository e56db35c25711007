//! Local endpoints of the kernel.

use anyhow::Result;
use datapath::dump;
use serde::Serialize;

use crate::output::Output;

#[derive(Serialize)]
struct EndpointRow {
    ip: String,
    endpoint: u16,
    identity: u32,
    ifindex: u32,
    locked_down: bool,
}

pub(super) fn show(output: Output, rows: Vec<dump::EndpointDump>) -> Result<()> {
    let row = |row: dump::EndpointDump| EndpointRow {
        ip: row.ip.to_string(),
        endpoint: row.id,
        identity: row.identity,
        ifindex: row.ifindex,
        locked_down: row.locked_down,
    };
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    output.list(&["IP ADDRESS", "ENDPOINT", "IDENTITY", "IFINDEX", "LOCKED DOWN"], &rows, |row| {
        let (endpoint, identity) = (row.endpoint.to_string(), row.identity.to_string());
        vec![row.ip.clone(), endpoint, identity, row.ifindex.to_string(), row.locked_down.to_string()]
    })
}
