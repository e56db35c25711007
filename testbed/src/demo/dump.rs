//! What a node's kernel holds, a line a row, read from the pinned maps by `causeway bpf`.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{Bed, NodePlan};

/// The maps that are compared; conntrack changes with every packet.
pub const MAPS: [&str; 4] = ["ipcache", "policy", "lb", "endpoint"];

/// The rows of one map.
///
/// # Errors
///
/// When the command fails.
pub fn rows(bed: &Bed, node: &NodePlan, map: &str) -> Result<BTreeSet<String>> {
    let text = bed.causeway(node, &["bpf", map, "list", "-o", "json"])?;
    let rows: Vec<Value> = serde_json::from_str(&text).with_context(|| format!("read the rows of {map}"))?;
    Ok(rows.iter().map(|row| line(map, row)).collect())
}

/// Every row of every map, with the map's name in front.
///
/// # Errors
///
/// When a command fails.
pub fn all(bed: &Bed, node: &NodePlan) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for map in MAPS {
        found.extend(rows(bed, node, map)?.into_iter().map(|row| format!("{map} {row}")));
    }
    Ok(found)
}

/// The row with its key first. A service's numbers are left out: they may change with its backends.
fn line(map: &str, row: &Value) -> String {
    let text = |field: &str| match &row[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match map {
        "lb" => {
            let backends = row["backends"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut places: Vec<_> = backends.filter_map(|backend| backend.split(' ').next()).collect();
            places.sort_unstable();
            places.dedup();
            format!("{} -> {}", text("frontend"), places.join(" "))
        }
        "ipcache" => format!("{} {} via {}", text("prefix"), text("identity"), text("tunnel_endpoint")),
        "policy" => {
            format!(
                "{} {} {} {} {}",
                text("set"),
                text("direction"),
                text("identity"),
                text("port_proto"),
                text("policy")
            )
        }
        _ => format!("{} {} {}", text("ip"), text("endpoint"), text("identity")),
    }
}
