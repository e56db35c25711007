//! Policy rows of the kernel.

use anyhow::Result;
use datapath::dump;
use serde::Serialize;

use crate::output::Output;

#[derive(Serialize)]
struct PolicyRow {
    set: u32,
    policy: &'static str,
    direction: String,
    identity: u32,
    port_proto: String,
    prefix: u8,
    precedence: u32,
}

pub(super) fn show(output: Output, rows: Vec<dump::PolicyDump>) -> Result<()> {
    let row = |row: dump::PolicyDump| PolicyRow {
        set: row.set,
        policy: if row.deny { "Deny" } else { "Allow" },
        direction: row.direction.to_string(),
        identity: row.identity,
        port_proto: match (row.port, row.proto) {
            (_, 0) => "ANY".to_owned(),
            (port, proto) => format!("{port}/{}", super::protocol(proto)),
        },
        prefix: row.l4_prefix,
        precedence: row.precedence,
    };
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    let head = ["SET", "POLICY", "DIRECTION", "IDENTITY", "PORT/PROTO", "PREFIX", "PRECEDENCE"];
    output.list(&head, &rows, |row| {
        vec![
            row.set.to_string(),
            row.policy.to_owned(),
            row.direction.clone(),
            row.identity.to_string(),
            row.port_proto.clone(),
            row.prefix.to_string(),
            format!("{:#x}", row.precedence),
        ]
    })
}
