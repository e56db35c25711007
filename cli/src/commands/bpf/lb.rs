//! Services of the kernel: frontends, backends, and the way back.

use anyhow::Result;
use datapath::dump;
use datapath::kernel::Pinned;
use serde::Serialize;

use crate::output::Output;

#[derive(clap::Subcommand)]
pub(super) enum Lb {
    /// Services with their backends, or one of the maps behind them
    List {
        /// The frontends alone
        #[arg(long, group = "what")]
        frontends: bool,
        /// The backends alone
        #[arg(long, group = "what")]
        backends: bool,
        /// What replies are turned back into
        #[arg(long, group = "what")]
        revnat: bool,
    },
}

pub(super) fn run(output: Output, kernel: &mut Pinned, command: &Lb) -> Result<()> {
    let Lb::List { frontends, backends, revnat } = command;
    if *backends {
        return show_backends(output, dump::backends(kernel)?);
    }
    if *revnat {
        return show_revnat(output, dump::reverse_nat(kernel)?);
    }
    let services = dump::services(kernel)?;
    if *frontends { show_frontends(output, services) } else { show_services(output, services) }
}

#[derive(Serialize)]
struct ServiceRow {
    id: u16,
    frontend: String,
    backends: Vec<String>,
}

fn show_services(output: Output, rows: Vec<dump::ServiceDump>) -> Result<()> {
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
struct FrontendRow {
    id: u16,
    frontend: String,
    backends: usize,
}

fn show_frontends(output: Output, rows: Vec<dump::ServiceDump>) -> Result<()> {
    let row = |row: dump::ServiceDump| FrontendRow {
        id: row.number,
        frontend: row.frontend.to_string(),
        backends: row.backends.len(),
    };
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    output.list(&["ID", "SERVICE ADDRESS", "BACKENDS"], &rows, |row| {
        vec![row.id.to_string(), row.frontend.clone(), row.backends.to_string()]
    })
}

#[derive(Serialize)]
struct BackendRow {
    id: u32,
    backend: String,
    state: &'static str,
}

fn show_backends(output: Output, rows: Vec<dump::BackendDump>) -> Result<()> {
    let row = |row: dump::BackendDump| BackendRow {
        id: row.number,
        backend: row.addr.to_string(),
        state: if row.terminating { "terminating" } else { "active" },
    };
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    output.list(&["ID", "BACKEND ADDRESS", "STATE"], &rows, |row| {
        vec![row.id.to_string(), row.backend.clone(), row.state.to_owned()]
    })
}

#[derive(Serialize)]
struct ReverseRow {
    id: u16,
    frontend: String,
}

fn show_revnat(output: Output, rows: Vec<(u16, std::net::SocketAddr)>) -> Result<()> {
    let row = |(id, frontend): (u16, std::net::SocketAddr)| ReverseRow { id, frontend: frontend.to_string() };
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    output.list(&["ID", "SERVICE ADDRESS"], &rows, |row| vec![row.id.to_string(), row.frontend.clone()])
}
