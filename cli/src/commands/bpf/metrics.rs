//! Packet counters of the kernel.

use anyhow::Result;
use datapath::dump;
use serde::Serialize;

use crate::output::Output;

#[derive(Serialize)]
struct MetricRow {
    reason: &'static str,
    code: u8,
    direction: &'static str,
    packets: u64,
    bytes: u64,
}

pub(super) fn show(output: Output, rows: Vec<dump::MetricDump>) -> Result<()> {
    let row = |row: dump::MetricDump| MetricRow {
        reason: row.reason,
        code: row.code,
        direction: match row.direction {
            1 => "INGRESS",
            2 => "EGRESS",
            _ => "SERVICE",
        },
        packets: row.packets,
        bytes: row.bytes,
    };
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    output.list(&["REASON", "DIRECTION", "PACKETS", "BYTES"], &rows, |row| {
        vec![row.reason.to_owned(), row.direction.to_owned(), row.packets.to_string(), row.bytes.to_string()]
    })
}
