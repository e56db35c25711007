//! Finds the eBPF object that `cargo xtask ebpf` built, and refuses one of other sources.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> Result<(), String> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(|e| e.to_string())?)
        .parent()
        .ok_or("the manifest has no parent directory")?
        .to_owned();
    let sources = root.join("ebpf");
    let next = env::var_os("CARGO_FEATURE_NEXT_LAYOUT").is_some();
    let object = root.join(if next { "target/ebpf/causeway-next.o" } else { "target/ebpf/causeway.o" });
    let recorded = object.with_extension("o.hash");
    for path in [&sources, &object, &recorded] {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    let hash = source_hash(&sources).map_err(|error| format!("read {}: {error}", sources.display()))?;
    let built = fs::read_to_string(&recorded).unwrap_or_default();
    if !object.exists() || built.trim() != hash {
        let what = if object.exists() { "stale" } else { "missing" };
        return Err(format!("the eBPF object {} is {what}: run cargo xtask setup", object.display()));
    }
    println!("cargo:rustc-env=CAUSEWAY_EBPF_OBJECT={}", object.display());
    Ok(())
}

/// FNV-1a over every Rust source and manifest below `dir`, in path order; `cargo xtask ebpf` computes the same.
fn source_hash(dir: &Path) -> io::Result<String> {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    let mut files = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    pending.push(path);
                }
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".rs") || name.starts_with("Cargo.") {
            let relative = file.strip_prefix(dir).map_err(io::Error::other)?;
            add(relative.as_os_str().as_encoded_bytes());
            add(&fs::read(&file)?);
        }
    }
    Ok(format!("{hash:016x}"))
}
