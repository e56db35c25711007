//! `cargo xtask interop`: the store beside etcd: the differential test, stock clients against both, a Kubernetes API server
//! on both, Cilium's kvstoremesh over TLS on ours.

use anyhow::{Result, bail};

use crate::peers::{self, Peers};
use crate::repo;

/// How much is compared.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Operations of the differential test
    #[arg(long, default_value_t = 200_000)]
    operations: u64,
    /// The seed of an earlier run; chosen and printed otherwise
    #[arg(long)]
    seed: Option<u64>,
    /// Only the tests whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if peers::build_slow()? == Peers::NoGo {
        bail!("there is nothing to compare with without Go");
    }
    let mut command = repo::cargo();
    command.args(["test", "--quiet", "--locked", "--package", "kvstore-server", "--test", "differential"]);
    command.args(&args.filter);
    command.args(["--", "--show-output"]).env("CAUSEWAY_DIFF_OPS", args.operations.to_string());
    if let Some(seed) = args.seed {
        command.env("CAUSEWAY_DIFF_SEED", seed.to_string());
    }
    repo::run(&mut command)?;
    repo::run(repo::cargo().args(["build", "--quiet", "--locked", "--bin", "causeway", "--package", "cli"]))?;
    let mut command = repo::cargo();
    command.args(["test", "--quiet", "--locked", "--package", "tests", "--test", "it"]);
    repo::run(command.args(["--", "--show-output", "kubernetes", "kvstoremesh"]))
}
