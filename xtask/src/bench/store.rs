//! The embedded store beside etcd 3.6: the peer is built from its Go module, ours as a release.

use anyhow::{Result, bail};

use super::{binary, record::Figure};
use crate::{peers, repo};

pub(super) fn run() -> Result<Vec<Figure>> {
    if peers::build()? == peers::Peers::NoGo {
        bail!("the peer is etcd 3.6, which is built with Go 1.26");
    }
    repo::run(repo::cargo().args(["build", "--quiet", "--locked", "--release", "--bin", "causeway", "-p", "cli"]))?;
    let ours = repo::target().join("release/causeway");
    let variables = [("CAUSEWAY_BENCH_CAUSEWAY", ours), ("CAUSEWAY_BENCH_ETCD", peers::binary("etcd-3.6.16"))];
    binary::run_with("kvstore-server", "store", &variables)
}
