//! The control plane beside Cilium's own Go packages, and what one change costs.

use anyhow::{Result, bail};

use super::{binary, one_more, record::Figure};
use crate::{peers, repo};

pub(super) fn run() -> Result<Vec<Figure>> {
    if peers::build()? == peers::Peers::NoGo {
        bail!("the peers are Cilium's packages and etcd 3.6, which are built with Go 1.26");
    }
    repo::run(repo::cargo().args(["build", "--quiet", "--locked", "--release", "--bin", "causeway", "-p", "cli"]))?;
    let variables = [
        ("CAUSEWAY_BENCH_CAUSEWAY", repo::target().join("release/causeway")),
        ("CAUSEWAY_BENCH_ETCD", peers::binary("etcd-3.6.16")),
        ("CAUSEWAY_BENCH_CILIUM", peers::binary("interop-cilium")),
    ];
    let mut figures = binary::run_with("agent", "control", &variables)?;
    figures.extend(one_more::run()?);
    Ok(figures)
}
