//! `cargo xtask`: everything that a developer or CI does with this repository.
//!
//! Depends on no crate of the workspace and on nothing that needs `protoc`, so that it builds on a machine where
//! nothing has been set up yet; `setup` is the first thing that every other command runs.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod codegen;
mod demo;
mod ebpf;
mod interop;
mod peers;
mod repo;
mod setup;
mod test;
mod tidy;

/// Set-up, eBPF build, demo, test, bench, tidy.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing: Debian packages, the eBPF toolchain, bpf-linker
    Setup,
    /// Build the eBPF programs into target/ebpf/
    Ebpf,
    /// Two clusters of two nodes each on this machine, meshed; prints what it proves
    Demo(demo::Args),
    /// All set-up, then every test
    Test(test::Args),
    /// Side-by-side benchmarks, one JSON line a result
    Bench(bench::Args),
    /// The store beside etcd 3.6: differential test, and stock clients; builds etcd from its Go module
    Interop(interop::Args),
    /// Rewrite generated files
    Codegen,
    /// Check what the compiler does not: dependency edges, unreachable files, unsafe, licences, ...
    Tidy,
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Setup => setup::run(),
        Command::Ebpf => setup::run(),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Interop(args) => interop::run(&args),
        Command::Codegen => codegen::write(),
        Command::Tidy => setup::run().and_then(|()| tidy::run()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
