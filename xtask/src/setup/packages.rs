//! Debian packages: which are missing, and installing them without starting a service.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::repo;

/// Every package, with the reason it is needed.
const PACKAGES: [(&str, &str); 13] = [
    ("etcd-server", "the store of the demo and the tests"),
    ("etcd-client", "etcdctl, the witness in the demo's proofs"),
    ("g++", "links bpf-linker against LLVM"),
    ("iproute2", "tc, which cuts links of the demo without a sign"),
    ("libprotobuf-dev", "the well-known types that etcd's API imports"),
    ("llvm-22-dev", "what bpf-linker links"),
    ("nghttp2-client", "h2load, the neutral client of the store's benchmark"),
    ("procps", "process listings in bug reports and tests"),
    ("prometheus", "promtool, which checks what /metrics says"),
    ("protobuf-compiler", "protoc, for the build of crate etcd-client"),
    ("rust-web-src", "core, built for the BPF target"),
    ("rustc-web", "the compiler that knows the BPF target"),
    ("util-linux", "nsenter, to enter a node of the demo"),
];

/// A service script's gate: exit 101 means "action forbidden by policy" (Debian's policy-rc.d interface).
const POLICY: &str = "/usr/sbin/policy-rc.d";
const FORBID: &str = "#!/bin/sh\nexit 101\n";

/// The packages that dpkg does not know as installed.
pub(crate) fn missing() -> Result<Vec<&'static str>> {
    if !Path::new("/usr/bin/dpkg-query").exists() {
        bail!("this is not a Debian system: install etcd, protoc and an eBPF toolchain by hand, see CONTRIBUTING.md");
    }
    let listed = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(PACKAGES.map(|(name, _)| name))
        .output()
        .context("ask dpkg-query for installed packages")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let installed = |name: &str| listed.lines().any(|line| line == format!("{name} installed"));
    Ok(PACKAGES.iter().map(|(name, _)| *name).filter(|name| !installed(name)).collect())
}

/// Installs packages as root; anyone else is told the exact command.
pub(crate) fn install(missing: &[&str]) -> Result<()> {
    if !repo::is_root() {
        bail!(
            "these packages are missing, and installing them needs root; run\n    \
             sudo sh -c 'apt-get update && apt-get install --yes --no-install-recommends {}'",
            missing.join(" ")
        );
    }
    eprintln!("setup: installing {}", missing.join(" "));
    let _gate = ServiceGate::close()?;
    repo::run(apt().arg("update"))?;
    repo::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(missing))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("--quiet=2").env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    command
}

/// While it lives no installer may start a service: etcd's would take port 2379. What was there before comes back.
struct ServiceGate {
    before: Option<Vec<u8>>,
}

impl ServiceGate {
    fn close() -> Result<Self> {
        let before = fs::read(POLICY).ok();
        fs::write(POLICY, FORBID).with_context(|| format!("write {POLICY}"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).with_context(|| format!("chmod {POLICY}"))?;
        Ok(Self { before })
    }
}

impl Drop for ServiceGate {
    fn drop(&mut self) {
        let restored = match &self.before {
            Some(bytes) => fs::write(POLICY, bytes),
            None => fs::remove_file(POLICY),
        };
        if let Err(error) = restored {
            eprintln!("setup: could not restore {POLICY}: {error}");
        }
    }
}
