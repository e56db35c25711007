//! What the kernel knows of addresses.

use anyhow::Result;
use datapath::dump;
use serde::Serialize;

use crate::output::Output;

#[derive(Serialize)]
struct IpcacheRow {
    prefix: String,
    identity: u32,
    tunnel_endpoint: Option<String>,
    encrypt_key: u8,
}

pub(super) fn show(output: Output, rows: Vec<dump::IpcacheDump>) -> Result<()> {
    let row = |row: dump::IpcacheDump| IpcacheRow {
        prefix: format!("{}/{}", row.prefix.addr(), row.prefix.bits()),
        identity: row.identity,
        tunnel_endpoint: row.tunnel_endpoint.map(|ip| ip.to_string()),
        encrypt_key: row.encrypt_key,
    };
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    output.list(&["IP PREFIX", "IDENTITY", "ENCRYPTKEY", "TUNNELENDPOINT"], &rows, |row| {
        let tunnel = row.tunnel_endpoint.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
        vec![row.prefix.clone(), row.identity.to_string(), row.encrypt_key.to_string(), tunnel]
    })
}
