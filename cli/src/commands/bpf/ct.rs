//! Tracked connections of the kernel.

use std::net::IpAddr;

use anyhow::{Context, Result};
use datapath::conntrack::{self, Flow};
use datapath::kernel::Pinned;
use serde::Serialize;

use crate::output::{Output, print};

#[derive(clap::Subcommand)]
pub(super) enum Ct {
    /// Connections of the node, or of one endpoint
    List {
        /// `global`, or an endpoint's number
        #[arg(default_value = "global", value_parser = scope)]
        scope: Scope,
        /// The time left of each in words
        #[arg(long, short = 'd')]
        time_diff: bool,
    },
    /// Forget connections: what policy allows begins anew, what it denies ends
    Flush {
        /// `global`, or an endpoint's number
        #[arg(value_parser = scope)]
        scope: Scope,
    },
}

/// Whose connections.
#[derive(Clone, Copy)]
pub(super) enum Scope {
    Global,
    Endpoint(u16),
}

fn scope(text: &str) -> Result<Scope, String> {
    match text {
        "global" => Ok(Scope::Global),
        number => number
            .parse()
            .map(Scope::Endpoint)
            .map_err(|_| format!("{text:?} is neither `global` nor an endpoint's number")),
    }
}

pub(super) fn run(output: Output, kernel: &mut Pinned, command: &Ct) -> Result<()> {
    match command {
        Ct::List { scope, time_diff } => {
            let now = conntrack::now().context("read the clock")?;
            let ips = ips(kernel, *scope)?;
            let mut flows = conntrack::list(kernel, now)?;
            let of =
                |flow: &Flow, ips: &[IpAddr]| ips.contains(&flow.source.ip()) || ips.contains(&flow.destination.ip());
            flows.retain(|flow| ips.as_ref().is_none_or(|ips| of(flow, ips)));
            show(output, flows, *time_diff)
        }
        Ct::Flush { scope } => {
            let deleted = match ips(kernel, *scope)? {
                Some(ips) => conntrack::forget(kernel, &ips)?,
                None => conntrack::flush(kernel)?,
            };
            print(&format!("{deleted} connections forgotten\n"))
        }
    }
}

/// The addresses of an endpoint; `None` for everything.
fn ips(kernel: &mut Pinned, scope: Scope) -> Result<Option<Vec<IpAddr>>> {
    let Scope::Endpoint(endpoint) = scope else { return Ok(None) };
    Ok(Some(super::find(kernel, endpoint)??.iter().map(|row| row.ip).collect()))
}

#[derive(Serialize)]
struct FlowRow {
    protocol: String,
    scope: &'static str,
    source: String,
    destination: String,
    expires_seconds: i64,
    packets: u64,
    bytes: u64,
    source_identity: u32,
    rev_nat: u16,
    backend: u32,
    closing: bool,
}

fn show(output: Output, flows: Vec<Flow>, words: bool) -> Result<()> {
    let row = |flow: Flow| FlowRow {
        protocol: super::protocol(flow.proto),
        scope: match flow.scope {
            conntrack::Scope::Out => "OUT",
            conntrack::Scope::In => "IN",
            conntrack::Scope::Service => "SVC",
        },
        source: flow.source.to_string(),
        destination: flow.destination.to_string(),
        expires_seconds: flow.remaining_secs,
        packets: flow.packets,
        bytes: flow.bytes,
        source_identity: flow.source_identity,
        rev_nat: flow.rev_nat,
        backend: flow.backend_id,
        closing: flow.closing,
    };
    let rows: Vec<_> = flows.into_iter().map(row).collect();
    let head =
        ["PROTO", "SCOPE", "SOURCE", "DESTINATION", "EXPIRES", "PACKETS", "BYTES", "SOURCE ID", "REVNAT", "BACKEND"];
    output.list(&head, &rows, |row| {
        let left = match (words, row.expires_seconds) {
            (false, seconds) => format!("{seconds}s"),
            (true, seconds @ ..0) => format!("expired {} sec(s) ago", -seconds),
            (true, seconds) => format!("remaining: {seconds} sec(s)"),
        };
        vec![
            row.protocol.clone(),
            row.scope.to_owned(),
            row.source.clone(),
            row.destination.clone(),
            format!("{left}{}", if row.closing { " closing" } else { "" }),
            row.packets.to_string(),
            row.bytes.to_string(),
            row.source_identity.to_string(),
            row.rev_nat.to_string(),
            row.backend.to_string(),
        ]
    })
}
