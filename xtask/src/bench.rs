//! `cargo xtask bench`: builds release, runs each benchmark as a command of its own, prints a line a result and appends
//! a JSON line to `target/bench/`.
//!
//! Wall-clock figures are of this machine and this minute; the record names both. What bounds a figure is not known
//! here: the benchmark's own file says it.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{repo, setup};

mod binary;
mod callgrind;
mod control;
mod growth;
mod one_more;
mod packet;
mod record;
mod store;

use record::Figure;

/// Which benchmarks run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the benchmarks whose name contains this: packet, list, memory, control, propagation, cni, restart, store, growth
    name: Option<String>,
}

/// One benchmark: its name, whether it needs root, the figures it finds.
struct Bench {
    name: &'static str,
    root: bool,
    run: fn() -> Result<Vec<Figure>>,
}

const BENCHES: [Bench; 9] = [
    Bench { name: "packet", root: true, run: packet::run },
    Bench { name: "memory", root: false, run: || binary::run("statedb", "memory") },
    Bench { name: "list", root: false, run: || binary::run("reflector", "list") },
    Bench { name: "control", root: true, run: control::run },
    Bench { name: "propagation", root: true, run: || in_mesh("propagation") },
    Bench { name: "cni", root: true, run: || in_mesh("cni") },
    Bench { name: "restart", root: true, run: || in_mesh("restart") },
    Bench { name: "store", root: false, run: store::run },
    Bench { name: "growth", root: false, run: growth::run },
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = |bench: &&Bench| args.name.as_ref().is_none_or(|name| bench.name.contains(name.as_str()));
    let chosen: Vec<&Bench> = BENCHES.iter().filter(wanted).collect();
    if chosen.is_empty() {
        bail!("there is no such benchmark; there are {}", BENCHES.map(|bench| bench.name).join(", "));
    }
    setup::run()?;
    let mut failed = Vec::new();
    for bench in chosen {
        if bench.root && !repo::is_root() {
            println!("{}: left out, it makes network namespaces and loads programs, which needs root", bench.name);
            continue;
        }
        match (bench.run)() {
            Ok(figures) => record::record(bench.name, &figures)?,
            Err(error) => {
                eprintln!("{}: {error:#}", bench.name);
                failed.push(bench.name);
            }
        }
    }
    println!("the times of `cargo xtask test` and `cargo xtask demo` are taken by hand: `time cargo xtask test` after");
    println!("`cargo clean` (cold) and again (warm)");
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// A benchmark that brings up a mesh of release binaries.
fn in_mesh(name: &str) -> Result<Vec<Figure>> {
    repo::run(repo::cargo().args(["build", "--quiet", "--locked", "--release", "--bins", "-p", "cli", "-p", "cni"]))?;
    binary::run("testbed", name)
}

/// What `git` says, or nothing outside a checkout.
fn git(words: &[&str]) -> String {
    repo::output(Command::new("git").current_dir(repo::root()).args(words)).unwrap_or_default().trim().to_owned()
}
