//! `causeway post-uninstall-cleanup`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::output::print;

/// Removes the pins, links, devices and routes of this node's network namespace. Traffic of its pods stops.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where maps, links and programs are pinned
    #[arg(long, env = "CAUSEWAY_BPF_ROOT", default_value = "/sys/fs/bpf/causeway")]
    bpf_root: PathBuf,
    /// Socket of an agent that must not be running
    #[arg(long, env = "CAUSEWAY_SOCK", default_value = api::paths::SOCKET)]
    socket_path: PathBuf,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if std::os::unix::net::UnixStream::connect(&args.socket_path).is_ok() {
        bail!("an agent runs at {}: stop it first, it would put everything back", args.socket_path.display());
    }
    if !args.force {
        bail!("this stops the traffic of every pod of the node: repeat with --force");
    }
    let cleaned = datapath::cleanup(&args.bpf_root)
        .with_context(|| format!("clean up after pins at {}", args.bpf_root.display()))?;
    print(&format!(
        "removed {} links, {} maps, devices: {}\n",
        cleaned.links,
        cleaned.maps,
        cleaned.devices.join(", ")
    ))?;
    Ok(ExitCode::SUCCESS)
}
