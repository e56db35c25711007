//! `cargo xtask interop`: the store beside etcd: the differential test, stock clients against both, a Kubernetes API server
//! on both. And Cilium beside us, in one store of either kind: what it writes we read, what we write it reads, its
//! kvstoremesh of three releases mirrors us.

use anyhow::{Result, bail};

use crate::peers::{self, Peers};
use crate::{repo, setup, test};

/// The tests of the whole that need slow peers, or are short without them.
const TESTS: [&str; 3] = ["kubernetes", "kvstoremesh", "interop::"];

/// How much is compared.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Operations of the differential test
    #[arg(long, default_value_t = 200_000)]
    operations: u64,
    /// The seed of an earlier run; chosen and printed otherwise
    #[arg(long)]
    seed: Option<u64>,
    /// Only tests whose name contains this
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
    setup::run()?;
    repo::build_binaries()?;
    // Fifty nodes of ours without a kernel.
    repo::run(repo::cargo().args(["build", "--quiet", "--locked", "--package", "agent", "--example", "fleet"]))?;
    let mut command = test::sandboxed(&repo::cargo());
    command.args(["test", "--quiet", "--locked", "--package", "tests", "--test", "it", "--", "--show-output"]);
    match &args.filter {
        Some(filter) => command.arg(filter),
        None => command.args(TESTS),
    };
    repo::run(command.env("CAUSEWAY_INTEROP", "1"))
}
