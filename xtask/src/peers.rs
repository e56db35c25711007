//! Peers: servers and clients of other projects, which ours is compared and tested with, built from their Go modules.
//!
//! Versions are pinned in `tests/interop/*/go.mod` and checked by `go.sum`; the binaries lie in `target/peers/`. Nothing
//! else of the repository needs Go.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::repo;

/// The Go that the modules ask for.
const GO: (u32, u32) = (1, 26);

/// A binary, the folder below `tests/interop/` that pins its version, and its package.
struct Peer {
    name: &'static str,
    module: &'static str,
    package: &'static str,
}

const PEERS: [Peer; 6] = [
    Peer { name: "etcd-3.6.16", module: "etcd", package: "go.etcd.io/etcd/server/v3" },
    Peer { name: "etcdctl", module: "etcd", package: "go.etcd.io/etcd/etcdctl/v3" },
    Peer { name: "etcdutl", module: "etcd", package: "go.etcd.io/etcd/etcdutl/v3" },
    Peer { name: "benchmark", module: "etcd-benchmark", package: "go.etcd.io/etcd/v3/tools/benchmark" },
    Peer { name: "interop-etcd", module: "etcd", package: "./client" },
    // Cold, this one takes minutes: it brings much of Cilium along.
    Peer { name: "interop-cilium", module: "cilium-kvstore", package: "." },
];

/// What takes too long to build for every test run.
const SLOW: [Peer; 5] = [
    Peer { name: "kube-apiserver", module: "kube-apiserver", package: "./server" },
    Peer { name: "kube-client", module: "kube-apiserver", package: "./client" },
    Peer {
        name: "clustermesh-apiserver",
        module: "cilium-apiserver",
        package: "github.com/cilium/cilium/clustermesh-apiserver",
    },
    Peer {
        name: "clustermesh-apiserver-1.19",
        module: "cilium-apiserver-1.19",
        package: "github.com/cilium/cilium/clustermesh-apiserver",
    },
    Peer {
        name: "clustermesh-apiserver-1.18",
        module: "cilium-apiserver-1.18",
        package: "github.com/cilium/cilium/clustermesh-apiserver",
    },
];

/// Whether the peers can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    Built,
    /// There is no Go, or an old one, which was said.
    NoGo,
}

/// Builds what is missing or of another version; without Go says what that leaves out.
///
/// # Errors
/// If a build fails; in CI also if there is no Go.
pub(crate) fn build() -> Result<Peers> {
    build_all(&PEERS)
}

/// The same, and those that build for minutes.
///
/// # Errors
/// As there.
pub(crate) fn build_slow() -> Result<Peers> {
    match build_all(&PEERS)? {
        Peers::Built => build_all(&SLOW),
        Peers::NoGo => Ok(Peers::NoGo),
    }
}

fn build_all(peers: &'static [Peer]) -> Result<Peers> {
    let stale = stale(peers)?;
    if stale.is_empty() {
        return Ok(Peers::Built);
    }
    if let Err(error) = check_go() {
        if env::var_os("CI").is_some() {
            return Err(error.context("in CI nothing may be left out"));
        }
        eprintln!("peers: {error:#}");
        eprintln!(
            "peers: without it the store is compared with Debian's etcd 3.4 only, and stock clients are left out"
        );
        return Ok(Peers::NoGo);
    }
    let started = Instant::now();
    for (peer, sources) in &stale {
        build_one(peer, *sources)?;
    }
    let names: Vec<&str> = stale.iter().map(|(peer, _)| peer.name).collect();
    eprintln!("peers: built {} ({:.0} s)", names.join(", "), started.elapsed().as_secs_f64());
    Ok(Peers::Built)
}

/// Where a peer's binary lies.
pub(crate) fn binary(name: &str) -> PathBuf {
    repo::target().join("peers").join(name)
}

fn stamp(name: &str) -> PathBuf {
    binary(name).with_file_name(format!("{name}.stamp"))
}

fn module(peer: &Peer) -> PathBuf {
    repo::root().join("tests/interop").join(peer.module)
}

/// What must be built, with the fingerprint of what it is built from.
fn stale(peers: &'static [Peer]) -> Result<Vec<(&'static Peer, u64)>> {
    let mut stale = Vec::new();
    for peer in peers {
        let sources = fingerprint(&module(peer), peer.package.starts_with('.'))?;
        let built = fs::read_to_string(stamp(peer.name)).unwrap_or_default();
        if built != sources.to_string() || !binary(peer.name).exists() {
            stale.push((peer, sources));
        }
    }
    Ok(stale)
}

/// Of the versions, and of the sources if they are ours.
fn fingerprint(module: &Path, ours: bool) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for path in repo::files(module)? {
        let name = path.file_name().unwrap_or_default();
        if ours || name == "go.mod" || name == "go.sum" {
            fs::read(&path).with_context(|| format!("read {}", path.display()))?.hash(&mut hasher);
        }
    }
    Ok(hasher.finish())
}

fn build_one(peer: &Peer, sources: u64) -> Result<()> {
    eprintln!("peers: building {}", peer.name);
    let binary = binary(peer.name);
    fs::create_dir_all(binary.parent().context("the build directory has a parent")?)?;
    let mut go = Command::new("go");
    go.args(["build", "-buildvcs=false", "-mod=readonly", "-o"]).arg(&binary).arg(peer.package);
    repo::run(go.current_dir(module(peer)))?;
    fs::write(stamp(peer.name), sources.to_string()).with_context(|| format!("note what {} is built of", peer.name))
}

fn check_go() -> Result<()> {
    let printed = repo::output(Command::new("go").args(["env", "GOVERSION"])).context("look for Go")?;
    let Some(found) = version(printed.trim()) else { bail!("go env GOVERSION prints {:?}", printed.trim()) };
    if found < GO {
        bail!("Go {}.{} is older than {}.{}", found.0, found.1, GO.0, GO.1);
    }
    Ok(())
}

/// Major and minor of "go1.26.8".
fn version(printed: &str) -> Option<(u32, u32)> {
    let mut parts = printed.strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_compare_by_number() {
        assert_eq!(version("go1.26.8"), Some((1, 26)));
        assert_eq!(version("go1.27rc1"), Some((1, 27)));
        assert_eq!(version("devel"), None);
        assert!(version("go1.9.2") < Some(GO));
    }

    #[test]
    fn another_version_of_a_peer_is_another_fingerprint() {
        let module = tempfile::tempdir().unwrap();
        fs::write(module.path().join("go.mod"), "v1").unwrap();
        fs::write(module.path().join("main.go"), "one").unwrap();
        let (theirs, ours) = (fingerprint(module.path(), false).unwrap(), fingerprint(module.path(), true).unwrap());
        fs::write(module.path().join("main.go"), "two").unwrap();
        assert_eq!(fingerprint(module.path(), false).unwrap(), theirs);
        assert_ne!(fingerprint(module.path(), true).unwrap(), ours);
        fs::write(module.path().join("go.mod"), "v2").unwrap();
        assert_ne!(fingerprint(module.path(), false).unwrap(), theirs);
    }
}
