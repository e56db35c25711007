//! `cargo xtask demo`: all set-up, then the demo.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{repo, setup};

/// How the demo runs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave it running and say how to enter it
    #[arg(long)]
    keep: bool,
    /// Remove what an earlier run left
    #[arg(long, conflicts_with = "keep")]
    down: bool,
    /// Break everything that can be broken, not only what is quickly mended
    #[arg(long)]
    long: bool,
    /// Kind of the stores: embedded (the default), or etcd
    #[arg(long)]
    store: Option<String>,
    /// How many clusters, 2 to 4
    #[arg(long)]
    clusters: Option<u32>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if !repo::is_root() {
        bail!(
            "the demo makes network namespaces and loads eBPF programs, which needs root; run\n    sudo -E env \"PATH=$PATH\" cargo xtask demo"
        );
    }
    setup::run()?;
    repo::build_binaries()?;
    let mut demo = Command::new(repo::target().join("debug/testbed"));
    demo.current_dir(repo::root()).arg("demo").arg("--dir").arg(repo::target().join("demo"));
    for (set, flag) in [(args.keep, "--keep"), (args.down, "--down"), (args.long, "--long")] {
        if set {
            demo.arg(flag);
        }
    }
    if let Some(store) = &args.store {
        demo.args(["--store", store]);
    }
    if let Some(clusters) = args.clusters {
        demo.args(["--clusters", &clusters.to_string()]);
    }
    // In place of this process: a signal to it is a signal to the demo.
    Err(demo.exec()).context("start the demo")
}
