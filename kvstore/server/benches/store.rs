//! The store beside etcd 3.6, in one run: server CPU an operation, rates, latencies, memory, restarts.
//!
//! Sides alternate; a figure is the median of the ratios of neighbouring pairs, and every pair is printed. Both sync
//! every acknowledged write to the same disk. Clients are neutral: h2load where one request is repeated, one client of
//! our own for both sides elsewhere. `cargo xtask bench store`; `CAUSEWAY_BENCH_ROWS=puts,watch` chooses rows.

#[path = "store/client.rs"]
mod client;
#[path = "store/echo.rs"]
mod echo;
#[path = "store/h2load.rs"]
mod h2load;
#[path = "store/leases.rs"]
mod leases;
#[path = "store/lists.rs"]
mod lists;
#[path = "store/memory.rs"]
mod memory;
#[path = "store/report.rs"]
mod report;
#[path = "store/secured.rs"]
mod secured;
#[path = "store/server.rs"]
mod server;
#[path = "store/silent.rs"]
mod silent;
#[path = "store/soak.rs"]
mod soak;
#[path = "store/squeeze.rs"]
mod squeeze;
#[path = "store/unary.rs"]
mod unary;
#[path = "store/watch.rs"]
mod watch;

use anyhow::Result;

/// A row of the table: its name, and what takes it.
type Row = (&'static str, fn() -> Result<()>);

const ROWS: [Row; 11] = [
    ("puts", unary::puts),
    ("single", unary::single),
    ("ranges", unary::ranges),
    ("creates", unary::creates),
    ("watch", watch::run),
    ("memory", memory::run),
    ("lists", lists::run),
    ("leases", leases::run),
    ("soak", soak::run),
    ("secured", secured::run),
    ("silent", silent::run),
];

fn main() -> Result<()> {
    if std::env::args().any(|word| word == "echo") {
        return echo::serve();
    }
    let chosen = std::env::var("CAUSEWAY_BENCH_ROWS").unwrap_or_default();
    let wanted = |name: &str| chosen.is_empty() || chosen.split(',').any(|row| row == name);
    for (name, row) in ROWS.iter().filter(|(name, _)| wanted(name)) {
        eprintln!("== {name}");
        row()?;
    }
    Ok(())
}
