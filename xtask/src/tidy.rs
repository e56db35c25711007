//! What the compiler does not check. Each rule is a function from a tree to complaints, and each has a fixture that it
//! must reject.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{codegen, repo};

mod clock;
mod deny;
mod edges;
mod reachable;
mod style;
mod unsafety;

/// Runs every rule; fails with all complaints.
pub(crate) fn run() -> Result<()> {
    let root = repo::root();
    let metadata = metadata()?;
    let mut complaints = Vec::new();
    complaints.extend(edges::check(&metadata));
    complaints.extend(reachable::check(root)?);
    complaints.extend(unsafety::check(root)?);
    complaints.extend(clock::check(root)?);
    complaints.extend(clock::check_release()?);
    complaints.extend(codegen::stale(root, &metadata)?);
    complaints.extend(deny::check(root, &metadata)?);
    complaints.extend(style::check_formatting(&root.join("Cargo.toml"), true));
    complaints.extend(style::check_formatting(&root.join("ebpf/programs/Cargo.toml"), false));
    complaints.extend(style::check_clippy(&root.join("Cargo.toml"), &["--workspace", "--all-targets", "--locked"]));
    if !complaints.is_empty() {
        bail!("tidy:\n  {}", complaints.join("\n  "));
    }
    Ok(())
}

/// `cargo metadata` of the workspace.
pub(crate) fn metadata() -> Result<Value> {
    let text = repo::output(repo::cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    serde_json::from_str(&text).context("read cargo metadata")
}

/// The packages of the workspace.
pub(crate) fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    // Ours are the ones without a source: they come from this tree.
    packages.filter(|package| package["source"].is_null())
}

/// A package's folder below the workspace root.
pub(crate) fn folder(metadata: &Value, package: &Value) -> String {
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
    let folder = manifest.parent().unwrap_or(Path::new(""));
    folder.strip_prefix(root).unwrap_or(folder).display().to_string()
}

/// The packages of ours that a package uses, development dependencies aside.
pub(crate) fn own_dependencies(package: &Value) -> Vec<&str> {
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let ours = dependencies.filter(|dependency| dependency["path"].is_string() && dependency["kind"].is_null());
    let mut names: Vec<_> = ours.filter_map(|dependency| dependency["name"].as_str()).collect();
    names.sort_unstable();
    names
}
