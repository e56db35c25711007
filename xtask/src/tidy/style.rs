//! Formatting, and clippy with warnings as errors.

use std::path::Path;

use crate::repo;

/// What rustfmt would change.
pub(super) fn check_formatting(manifest: &Path, all: bool) -> Option<String> {
    let mut fmt = repo::cargo();
    fmt.args(["fmt", "--check", "--manifest-path"]).arg(manifest);
    if all {
        fmt.arg("--all");
    }
    repo::run(&mut fmt).err().map(|error| format!("formatting: {error}: run cargo fmt"))
}

/// What clippy says.
pub(super) fn check_clippy(manifest: &Path, scope: &[&str]) -> Option<String> {
    let mut clippy = repo::cargo();
    clippy.args(["clippy", "--quiet", "--manifest-path"]).arg(manifest).args(scope).args(["--", "-D", "warnings"]);
    repo::run(&mut clippy).err().map(|error| format!("clippy: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixture_that_breaks_formatting_and_clippy_is_rejected() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/style");
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("src")).unwrap();
        for name in ["Cargo.toml", "src/lib.rs"] {
            std::fs::copy(fixture.join(name), copy.path().join(name)).unwrap();
        }
        let manifest = copy.path().join("Cargo.toml");
        assert!(check_formatting(&manifest, false).is_some_and(|complaint| complaint.contains("run cargo fmt")));
        let target = copy.path().join("target").display().to_string();
        assert!(check_clippy(&manifest, &["--target-dir", &target]).is_some());
        // Without the objections both pass: it was not the set-up that failed.
        std::fs::write(copy.path().join("src/lib.rs"), "//! Fine.\n").unwrap();
        assert_eq!(check_formatting(&manifest, false), None);
        assert_eq!(check_clippy(&manifest, &["--target-dir", &target]), None);
    }
}
