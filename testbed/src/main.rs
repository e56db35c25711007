//! `testbed`: the demo, and the servers that it leaves in pods.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use testbed::demo::{self, Stage};
use testbed::{Binaries, Ledger, Plan, StoreKind, server, take_down};

#[derive(clap::Parser)]
#[command(name = "testbed", about = "A mesh on one machine, and proofs from its live traffic")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Two clusters of two nodes each, meshed; prints what it proves
    Demo(Demo),
    /// Answer TCP and UDP on port 8080 with a name
    Serve {
        /// The name
        name: String,
    },
}

#[derive(clap::Args)]
struct Demo {
    /// Leave it running and say how to enter it
    #[arg(long)]
    keep: bool,
    /// Remove what an earlier run left
    #[arg(long, conflicts_with = "keep")]
    down: bool,
    /// Kind of the stores: embedded, or etcd
    #[arg(long, default_value = "embedded")]
    store: StoreKind,
    /// How many clusters
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=4))]
    clusters: u32,
    /// Break everything that can be broken, not only what is quickly mended
    #[arg(long)]
    long: bool,
    /// Where files of the demo lie
    #[arg(long, default_value = "target/demo")]
    dir: PathBuf,
    /// Only these proofs, by number
    #[arg(long, value_delimiter = ',', hide = true)]
    only: Vec<usize>,
    /// Fail in the middle, to test that nothing is left behind
    #[arg(long, hide = true)]
    panic: bool,
}

fn main() -> ExitCode {
    let args = <Args as clap::Parser>::parse();
    let result = match args.command {
        Command::Demo(args) => demo(&args),
        Command::Serve { name } => server::serve(&name).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: &Demo) -> Result<bool> {
    let ledger = args.dir.join("ledger.json");
    if let Some(left) = Ledger::open(&ledger)? {
        if !args.down && left.owner_runs() {
            bail!("another demo runs (run id {}): wait for it, or end it with `cargo xtask demo --down`", left.run_id);
        }
        let found = take_down(&left)?;
        println!(
            "removed run {}: {} processes, {} namespaces, {} pins",
            left.run_id, found.processes, found.namespaces, found.pins
        );
        std::fs::remove_dir_all(args.dir.join(&left.run_id)).ok();
        std::fs::remove_file(args.dir.join("demo.json")).ok();
    } else if args.down {
        println!("there is no demo to remove");
    }
    if args.down {
        return Ok(true);
    }
    std::fs::create_dir_all(&args.dir).with_context(|| format!("make {}", args.dir.display()))?;
    let dir = args.dir.canonicalize()?;
    clean_up_on_signal(&ledger)?;
    let run_id = format!("{:04x}", rand::random::<u16>());
    let started = Instant::now();
    let mut print = |line: &str| println!("[{:5.1} s] {line}", started.elapsed().as_secs_f64());
    print(&format!("run {run_id}: {} clusters, store: {}", args.clusters, args.store));
    let plan = Plan { store: args.store, ..Plan::new(&run_id, &dir, args.clusters) };
    let mut stage = Stage::set(plan, Binaries::beside_us()?, &ledger, &mut print)?;
    assert!(!args.panic, "asked to fail by --panic");
    let mut held = demo::run(&mut stage, &args.only, &mut print);
    let total = if args.only.is_empty() { demo::PROOFS.len() } else { args.only.len() };
    if args.only.is_empty() {
        held &= demo::chaos::run(&mut stage, &dir, args.long, &mut print)?;
    }
    print(&if held { format!("all {total} proofs hold") } else { "a proof FAILED".to_owned() });
    if args.keep {
        return keep(stage, &dir).map(|()| held);
    }
    if !held {
        println!("logs are kept in {}", stage.bed.plan.dir.display());
        stage.bed.keep_files();
    }
    drop(stage.servers);
    drop(stage.bed);
    Ok(held)
}

/// Hands the pods' servers over to processes and prints how to go on.
fn keep(mut stage: Stage, dir: &Path) -> Result<()> {
    drop(std::mem::take(&mut stage.servers));
    let unserved = |name: &&String| !stage.bed.servers.contains_key(*name);
    let pods: Vec<_> = stage.bed.pods.keys().filter(unserved).cloned().collect();
    for pod in pods {
        stage.bed.serve(&pod)?;
    }
    let description = stage.bed.keep(dir)?;
    let (run_id, binary) = (&stage.bed.plan.run_id, stage.bed.binaries.causeway.display());
    let node = stage.bed.node("east-1")?;
    let echo = stage.bed.pod("echo-w")?.ipv4;
    let (netns, socket) = (&node.netns, node.socket.display());
    println!("\nrun {run_id} goes on; {} describes it. Enter node east-1 and try:", description.display());
    println!("  sudo nsenter --net=/run/netns/{netns} env CAUSEWAY_SOCK={socket} bash");
    println!("  {binary} status");
    println!("  {binary} endpoint list");
    println!("  {binary} monitor");
    println!("  {binary} bpf ipcache list --bpf-root {}", node.bpf_root.display());
    println!("  nsenter --net=/run/netns/cw{run_id}-p-client-a curl -s http://{echo}:8080 --http0.9");
    println!("break it, and see what still holds:");
    println!("  {binary} chaos list");
    println!("  {binary} chaos run agent-killed --demo-dir {}", dir.display());
    println!("remove it with: cargo xtask demo --down");
    Ok(())
}

/// A thread that takes the run down on SIGINT, SIGTERM or SIGHUP, whatever the others are doing.
fn clean_up_on_signal(ledger: &Path) -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    // Before any thread is started, so that all inherit it.
    signals.thread_block().context("block signals")?;
    let ledger = ledger.to_owned();
    std::thread::spawn(move || {
        let Ok(signal) = signals.wait() else { return };
        eprintln!("\n{signal}: taking everything down");
        let code = match Ledger::open(&ledger) {
            Ok(Some(left)) => match take_down(&left) {
                Ok(_) => 130,
                Err(error) => {
                    eprintln!("error: {error:#}; repeat with --down");
                    1
                }
            },
            _ => 130,
        };
        #[expect(clippy::disallowed_methods, reason = "other threads are in the middle of work that was just removed")]
        std::process::exit(code);
    });
    Ok(())
}
