//! Programs of others that `cargo xtask interop` builds.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A binary, or a loud skip; a failure where nothing may be skipped.
pub(crate) fn peer(test: &str, name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let path = target.join("peers").join(name);
    if path.exists() {
        return Some(path);
    }
    let missing = format!("no target/peers/{name} (cargo xtask interop builds it, with Go)");
    println!("SKIP {test}: {missing}");
    assert!(std::env::var_os("CI").is_none(), "{missing}, and in CI nothing may be skipped");
    None
}

/// Runs a program with words, and keeps the runtime's threads free meanwhile.
pub(crate) async fn run(program: &Path, words: Vec<String>) -> Output {
    let program = program.to_owned();
    tokio::task::spawn_blocking(move || Command::new(program).args(words).output().unwrap()).await.unwrap()
}
