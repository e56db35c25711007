//! The control plane beside Cilium's own Go packages, interleaved in one run: a cold start from half a million keys, a put
//! to the kernel of a reader, identities a second.
//!
//! Ours are the parts that the agent runs, in a process of their own as the peer's are. Everything runs in a network
//! namespace that is made for it: readers make devices and routes. `cargo xtask bench control`;
//! `CAUSEWAY_BENCH_ROWS=cold,propagation` chooses rows, `CAUSEWAY_BENCH_PAIRS` how often.

#[path = "control/allocate.rs"]
mod allocate;
#[path = "control/cold.rs"]
mod cold;
#[path = "control/content.rs"]
mod content;
#[path = "control/costs.rs"]
mod costs;
#[path = "control/identities.rs"]
mod identities;
#[path = "control/part.rs"]
mod part;
#[path = "control/propagation.rs"]
mod propagation;
#[path = "control/read.rs"]
mod read;
#[path = "../../kvstore/server/benches/store/report.rs"]
mod report;
#[path = "control/server.rs"]
mod server;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};

/// A row of the table: its name, and what takes it.
type Row = (&'static str, fn() -> Result<()>);

const ROWS: [Row; 3] = [("cold", cold::run), ("propagation", propagation::run), ("identities", identities::run)];

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("read") => return read::play(&words[1..]),
        Some("allocate") => return allocate::play(&words[1..]),
        _ => {}
    }
    unshare(CloneFlags::CLONE_NEWNET).context("leave the machine's network: this needs root")?;
    let mut netlink = netlink::Netlink::open()?;
    let lo = netlink.link("lo")?.index;
    netlink.set_up(lo)?;
    let chosen = std::env::var("CAUSEWAY_BENCH_ROWS").unwrap_or_default();
    let wanted = |name: &str| chosen.is_empty() || chosen.split(',').any(|row| row == name);
    for (name, row) in ROWS.iter().filter(|(name, _)| wanted(name)) {
        eprintln!("== {name}");
        row()?;
    }
    Ok(())
}
