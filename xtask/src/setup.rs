//! `cargo xtask setup`: installs what is missing, says what it did, and costs nothing when all is there.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{ebpf, repo};

mod packages;

pub(crate) use packages::install;

/// Which bpf-linker builds the programs; its LLVM must be the one that the eBPF compiler uses.
const BPF_LINKER_VERSION: &str = "0.13.0";

/// Installs packages and bpf-linker, then builds the eBPF object, so that plain `cargo build` works afterwards.
pub(crate) fn run() -> Result<()> {
    let started = Instant::now();
    let mut done = Vec::new();
    let missing = packages::missing()?;
    if !missing.is_empty() {
        install(&missing)?;
        done.push(format!("installed {}", missing.join(" ")));
    }
    if ensure_bpf_linker()? {
        done.push(format!("built bpf-linker {BPF_LINKER_VERSION} under {}", repo::target().join("tools").display()));
    }
    if ebpf::build_if_stale()? {
        done.push("built the eBPF programs".to_owned());
    }
    let said = if done.is_empty() { "nothing to do".to_owned() } else { done.join("; ") };
    eprintln!("setup: {said} ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(())
}

/// Where bpf-linker lies: with the build output, so that nothing outside the checkout changes.
pub(crate) fn tools_bin() -> std::path::PathBuf {
    repo::target().join("tools/bin")
}

fn ensure_bpf_linker() -> Result<bool> {
    let binary = tools_bin().join("bpf-linker");
    if binary.exists() && linker_version(&binary).is_some_and(|version| version == BPF_LINKER_VERSION) {
        return Ok(false);
    }
    let llvm = "/usr/lib/llvm-22";
    if !Path::new(llvm).exists() {
        bail!("{llvm} is missing: bpf-linker needs Debian's llvm-22-dev (apt-get install llvm-22-dev)");
    }
    eprintln!("setup: building bpf-linker {BPF_LINKER_VERSION} (about two minutes, once)");
    repo::run(
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["install", "bpf-linker", "--quiet", "--version", BPF_LINKER_VERSION, "--locked", "--force"])
            .args(["--no-default-features", "--features", "llvm-22", "--root"])
            .arg(repo::target().join("tools"))
            .env("LLVM_PREFIX", llvm)
            .env_remove("CARGO_TARGET_DIR"),
    )
    .context("build bpf-linker")?;
    Ok(true)
}

fn linker_version(binary: &Path) -> Option<String> {
    let printed = repo::output(Command::new(binary).arg("--version")).ok()?;
    printed.split_whitespace().nth(1).map(str::to_owned)
}
