//! Every `.rs` file is reached by a `mod` of its crate: a file that nobody compiles rots.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::repo;

/// Files below a `src`, `it` or `benches` folder that no root reaches.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let files: BTreeSet<PathBuf> = repo::files(root)?
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .filter(|file| !file.components().any(|part| part.as_os_str() == "fixtures"))
        .collect();
    let mut reached = BTreeSet::new();
    let mut pending: Vec<PathBuf> = files.iter().filter(|file| is_root(file)).cloned().collect();
    while let Some(file) = pending.pop() {
        if !reached.insert(file.clone()) {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        pending.extend(modules(&file, &text).into_iter().filter(|module| files.contains(module)));
    }
    let complaint =
        |file: &PathBuf| format!("{}: no `mod` reaches it", file.strip_prefix(root).unwrap_or(file).display());
    Ok(files.difference(&reached).map(complaint).collect())
}

/// Files that cargo compiles by itself.
fn is_root(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    let folder = file.parent().and_then(Path::file_name).unwrap_or_default();
    if name == "build.rs" || folder == "benches" || folder == "examples" || folder == "bin" || folder == "fuzz_targets"
    {
        return true;
    }
    let target = (folder == "src" || folder == "it") && (name == "lib.rs" || name == "main.rs");
    // Integration tests: each file directly in a crate's `tests` folder.
    let beside_manifest = file.parent().and_then(Path::parent).is_some_and(|dir| dir.join("Cargo.toml").exists());
    let grandparent = file.parent().and_then(Path::parent).and_then(Path::file_name).unwrap_or_default();
    target || (folder == "tests" && beside_manifest) || (grandparent == "tests" && name == "main.rs")
}

/// The files that a file's `mod` items name.
fn modules(file: &Path, text: &str) -> Vec<PathBuf> {
    let stem = file.file_stem().unwrap_or_default();
    let folder = file.parent().unwrap_or(Path::new(""));
    let own = if is_root(file) || stem == "mod" { folder.to_owned() } else { folder.join(stem) };
    let mut found = Vec::new();
    // The folders of inline modules that are open at this line.
    let mut open: Vec<&str> = Vec::new();
    let mut path = None;
    for line in text.lines().map(str::trim) {
        if let Some(named) = line.strip_prefix("#[path = \"").and_then(|rest| rest.split('"').next()) {
            path = Some(folder.join(named));
            continue;
        }
        let item = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        if let Some(name) = item.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            let base = open.iter().fold(own.clone(), |base, name| base.join(name));
            found.extend(path.take());
            found.push(base.join(format!("{name}.rs")));
            found.push(base.join(name).join("mod.rs"));
        } else if let Some(name) = item.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
            open.push(name);
        } else if line == "}" && !open.is_empty() {
            open.pop();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixture_with_a_file_that_no_mod_reaches_is_rejected() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reachable");
        // Fixtures are left out of a real run; this one is the tree itself, so it is copied away.
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("src")).unwrap();
        for name in ["lib.rs", "used.rs", "forgotten.rs"] {
            fs::copy(root.join("src").join(name), copy.path().join("src").join(name)).unwrap();
        }
        assert_eq!(check(copy.path()).unwrap(), ["src/forgotten.rs: no `mod` reaches it"]);
    }
}
