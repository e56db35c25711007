//! Building the eBPF programs: a workspace of their own, for a target that stable Rust does not ship.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{repo, setup};

/// BTF for maps and programs; v3 has 32-bit jumps and atomics (kernel 5.12 and newer).
const FLAGS: &str = "-C link-arg=--btf -C debuginfo=2 -C target-cpu=v3";

/// The versions that `datapath` can embed: the product's, and one with another layout to test upgrades with.
const VERSIONS: [(&str, &[&str]); 2] = [("causeway.o", &[]), ("causeway-next.o", &["--features", "next-layout"])];

/// Builds unless the objects match the sources; true when it built.
pub(crate) fn build_if_stale() -> Result<bool> {
    let hash = source_hash(&repo::root().join("ebpf"))?;
    let fits = |name: &str| {
        let recorded = fs::read_to_string(hash_file(name)).unwrap_or_default();
        recorded.trim() == hash && object(name).exists()
    };
    if VERSIONS.iter().all(|(name, _)| fits(name)) {
        return Ok(false);
    }
    build().map(|()| true)
}

/// Compiles, strips debug information (BTF stays) and records the hash of what it compiled.
pub(crate) fn build() -> Result<()> {
    let sources = repo::root().join("ebpf");
    let hash = source_hash(&sources)?;
    let toolchain = Toolchain::find()?;
    let out = repo::target().join("ebpf/build");
    let path = format!("{}:{}", setup::tools_bin().display(), std::env::var("PATH").unwrap_or_default());
    for (name, features) in VERSIONS {
        let mut cargo = toolchain.cargo();
        cargo
            .current_dir(sources.join("programs"))
            .args(["build", "--quiet", "--release", "--locked", "-Z", "build-std=core"])
            .args(["--target", "bpfel-unknown-none"])
            .args(features)
            .env("CARGO_TARGET_DIR", &out)
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_RUSTFLAGS", FLAGS)
            .env("PATH", &path)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        repo::run(&mut cargo).with_context(|| format!("build the eBPF programs of {name}"))?;
        let built = out.join("bpfel-unknown-none/release/causeway");
        repo::run(Command::new("llvm-strip-22").arg("--strip-debug").arg("-o").arg(object(name)).arg(&built))?;
        fs::write(hash_file(name), format!("{hash}\n")).context("record the hash of the eBPF sources")?;
    }
    Ok(())
}

fn object(name: &str) -> PathBuf {
    repo::target().join("ebpf").join(name)
}

fn hash_file(name: &str) -> PathBuf {
    object(name).with_extension("o.hash")
}

/// FNV-1a over every Rust source and manifest below `dir`, in path order. `datapath/build.rs` computes the same.
pub(crate) fn source_hash(dir: &Path) -> Result<String> {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for file in repo::files(dir)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !name.ends_with(".rs") && !name.starts_with("Cargo.") {
            continue;
        }
        let relative = file.strip_prefix(dir).expect("listed below dir");
        add(relative.as_os_str().as_encoded_bytes());
        add(&fs::read(&file).with_context(|| format!("read {}", file.display()))?);
    }
    Ok(format!("{hash:016x}"))
}

/// Which compiler builds for BPF here.
enum Toolchain {
    /// Debian's rustc-web with rust-web-src.
    Debian,
    /// A rustup nightly with component rust-src.
    Nightly,
}

impl Toolchain {
    fn find() -> Result<Self> {
        let debian = |entry: std::io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.path().join("library/core/Cargo.toml").exists())
        };
        if Path::new("/usr/bin/rustc").exists() && fs::read_dir("/usr/src").is_ok_and(|mut list| list.any(debian)) {
            return Ok(Self::Debian);
        }
        let mut components = Command::new("rustup");
        components.args(["component", "list", "--toolchain", "nightly", "--installed"]);
        if repo::output(&mut components).is_ok_and(|list| list.lines().any(|line| line == "rust-src")) {
            return Ok(Self::Nightly);
        }
        bail!("no compiler for the BPF target: install rustc-web and rust-web-src, or a nightly with rust-src");
    }

    fn cargo(&self) -> Command {
        match self {
            Self::Debian => {
                let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                cargo.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
                cargo
            }
            Self::Nightly => {
                let mut cargo = Command::new("cargo");
                cargo.arg("+nightly").env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
                cargo
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_changes_with_name_content_and_order() {
        let write = |files: &[(&str, &str)]| {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in files {
                fs::write(dir.path().join(name), text).unwrap();
            }
            source_hash(dir.path()).unwrap()
        };
        let base = write(&[("a.rs", "x"), ("b.rs", "y")]);
        assert_eq!(base, write(&[("b.rs", "y"), ("a.rs", "x")]));
        assert_ne!(base, write(&[("a.rs", "xy"), ("b.rs", "")]));
        assert_ne!(base, write(&[("c.rs", "x"), ("b.rs", "y")]));
        assert_eq!(base, write(&[("a.rs", "x"), ("b.rs", "y"), ("notes.txt", "z")]));
    }
}
