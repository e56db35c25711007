//! `causeway bpf`: the pinned maps themselves. Works when no agent runs.

mod ct;
mod endpoint;
mod ipcache;
mod lb;
mod metrics;
mod policy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use datapath::dump;
use datapath::kernel::Pinned;
use model::Protocol;

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
    Lb(lb::Lb),
    /// Tracked connections
    #[command(subcommand)]
    Ct(ct::Ct),
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

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let mut kernel = Pinned::new(&args.bpf_root);
    let from = || format!("read the maps pinned at {}: --bpf-root chooses another place", args.bpf_root.display());
    let output = args.output;
    match args.command {
        Command::Ipcache(List::List) => ipcache::show(output, dump::ipcache(&mut kernel).with_context(from)?)?,
        Command::Policy(Policy::List) => policy::show(output, dump::policy(&mut kernel, None).with_context(from)?)?,
        Command::Policy(Policy::Get { endpoint }) => {
            let set = find(&mut kernel, endpoint).with_context(from)??[0].identity;
            policy::show(output, dump::policy(&mut kernel, Some(set)).with_context(from)?)?;
        }
        Command::Lb(command) => lb::run(output, &mut kernel, &command).with_context(from)?,
        Command::Ct(command) => ct::run(output, &mut kernel, &command).with_context(from)?,
        Command::Metrics(List::List) => metrics::show(output, dump::metrics(&mut kernel).with_context(from)?)?,
        Command::Endpoint(List::List) => endpoint::show(output, dump::endpoints(&mut kernel).with_context(from)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows of one endpoint, at least one. The inner error is the user's, the outer one the kernel's.
fn find(kernel: &mut Pinned, endpoint: u16) -> Result<Result<Vec<dump::EndpointDump>>> {
    let mut rows = dump::endpoints(kernel)?;
    rows.retain(|row| row.id == endpoint);
    Ok(match rows.is_empty() {
        true => missing(endpoint),
        false => Ok(rows),
    })
}

fn missing<T>(endpoint: u16) -> Result<T> {
    bail!("there is no endpoint {endpoint} in the kernel; `causeway bpf endpoint list` shows them")
}

fn protocol(number: u8) -> String {
    Protocol::from_number(number).map_or_else(|| number.to_string(), |proto| proto.to_string())
}
