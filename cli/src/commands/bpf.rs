//! `causeway bpf`: the pinned maps themselves. Works when no agent runs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use datapath::kernel::Pinned;
use datapath::{conntrack, dump};
use model::Protocol;
use serde::Serialize;

use crate::output::Output;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the maps are pinned
    #[arg(long, global = true, env = "CAUSEWAY_BPF_ROOT", default_value = "/sys/fs/bpf/causeway")]
    bpf_root: PathBuf,
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Prefixes, identities and tunnel endpoints
    #[command(subcommand)]
    Ipcache(List),
    /// Policy rows
    #[command(subcommand)]
    Policy(Policy),
    /// Services and their backends
    #[command(subcommand)]
    Lb(List),
    /// Tracked connections
    #[command(subcommand)]
    Ct(Ct),
    /// Packet counters by reason and direction
    #[command(subcommand)]
    Metrics(List),
    /// Local endpoints by address
    #[command(subcommand)]
    Endpoint(List),
}

#[derive(clap::Subcommand)]
enum List {
    /// Every row
    List,
}

#[derive(clap::Subcommand)]
enum Policy {
    /// Every row of every set
    List,
    /// The rows that protect one endpoint
    Get {
        /// The endpoint's number
        endpoint: u16,
    },
}

#[derive(clap::Subcommand)]
enum Ct {
    /// Every connection
    List {
        /// Cilium's word for the one table there is
        #[arg(default_value = "global", value_parser = ["global"])]
        scope: String,
    },
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let mut kernel = Pinned::new(&args.bpf_root);
    let from = || format!("read the maps pinned at {}: --bpf-root chooses another place", args.bpf_root.display());
    let output = args.output;
    match args.command {
        Command::Ipcache(List::List) => ipcache(output, dump::ipcache(&mut kernel).with_context(from)?)?,
        Command::Policy(Policy::List) => policy(output, dump::policy(&mut kernel, None).with_context(from)?)?,
        Command::Policy(Policy::Get { endpoint }) => {
            let endpoints = dump::endpoints(&mut kernel).with_context(from)?;
            let Some(found) = endpoints.iter().find(|row| row.id == endpoint) else {
                bail!("there is no endpoint {endpoint} in the kernel; `causeway bpf endpoint list` shows them");
            };
            policy(output, dump::policy(&mut kernel, Some(found.identity)).with_context(from)?)?;
        }
        Command::Lb(List::List) => services(output, dump::services(&mut kernel).with_context(from)?)?,
        Command::Ct(Ct::List { .. }) => {
            let now = conntrack::now().context("read the clock")?;
            connections(output, conntrack::list(&mut kernel, now).with_context(from)?)?;
        }
        Command::Metrics(List::List) => metrics(output, dump::metrics(&mut kernel).with_context(from)?)?,
        Command::Endpoint(List::List) => endpoints(output, dump::endpoints(&mut kernel).with_context(from)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct IpcacheRow {
    prefix: String,
    identity: u32,
    tunnel_endpoint: Option<String>,
    encrypt_key: u8,
}

fn ipcache(output: Output, rows: Vec<dump::IpcacheDump>) -> Result<()> {
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

fn policy(output: Output, rows: Vec<dump::PolicyDump>) -> Result<()> {
    let row = |row: dump::PolicyDump| PolicyRow {
        set: row.set,
        policy: if row.deny { "Deny" } else { "Allow" },
        direction: row.direction.to_string(),
        identity: row.identity,
        port_proto: match (row.port, row.proto) {
            (_, 0) => "ANY".to_owned(),
            (port, proto) => format!("{port}/{}", protocol(proto)),
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

#[derive(Serialize)]
struct ServiceRow {
    id: u16,
    frontend: String,
    backends: Vec<String>,
}

fn services(output: Output, rows: Vec<dump::ServiceDump>) -> Result<()> {
    let backend = |(slot, number, addr): (u16, u32, Option<model::L3n4Addr>)| {
        let place = addr.map_or_else(|| "missing".to_owned(), |addr| addr.to_string());
        format!("{place} ({number}) (slot {slot})")
    };
    let row = |row: dump::ServiceDump| ServiceRow {
        id: row.number,
        frontend: row.frontend.to_string(),
        backends: row.backends.into_iter().map(backend).collect(),
    };
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    output.list(&["ID", "SERVICE ADDRESS", "BACKEND ADDRESS"], &rows, |row| {
        vec![row.id.to_string(), row.frontend.clone(), row.backends.join("\n")]
    })
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

fn connections(output: Output, flows: Vec<conntrack::Flow>) -> Result<()> {
    let row = |flow: conntrack::Flow| FlowRow {
        protocol: protocol(flow.proto),
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
        vec![
            row.protocol.clone(),
            row.scope.to_owned(),
            row.source.clone(),
            row.destination.clone(),
            format!("{}s{}", row.expires_seconds, if row.closing { " closing" } else { "" }),
            row.packets.to_string(),
            row.bytes.to_string(),
            row.source_identity.to_string(),
            row.rev_nat.to_string(),
            row.backend.to_string(),
        ]
    })
}

#[derive(Serialize)]
struct MetricRow {
    reason: &'static str,
    code: u8,
    direction: &'static str,
    packets: u64,
    bytes: u64,
}

fn metrics(output: Output, rows: Vec<dump::MetricDump>) -> Result<()> {
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

#[derive(Serialize)]
struct EndpointRow {
    ip: String,
    endpoint: u16,
    identity: u32,
    ifindex: u32,
    locked_down: bool,
}

fn endpoints(output: Output, rows: Vec<dump::EndpointDump>) -> Result<()> {
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

fn protocol(number: u8) -> String {
    Protocol::from_number(number).map_or_else(|| number.to_string(), |proto| proto.to_string())
}
