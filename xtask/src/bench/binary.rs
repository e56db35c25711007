//! A benchmark that is a bench target of a crate and prints its figures as JSON lines.

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::Value;

use super::record::Figure;
use crate::repo;

/// Runs a bench target; other lines that it prints are shown as they are.
pub(super) fn run(package: &str, bench: &str) -> Result<Vec<Figure>> {
    run_with(package, bench, &[])
}

/// The same with variables of the environment that name binaries.
pub(super) fn run_with(package: &str, bench: &str, binaries: &[(&str, PathBuf)]) -> Result<Vec<Figure>> {
    let shown = format!("cargo bench -p {package} --bench {bench}");
    let figures: Vec<Figure> =
        lines_with(package, bench, binaries)?.iter().filter_map(|line| Figure::read(line, &shown)).collect();
    if figures.is_empty() {
        bail!("{shown} printed no figure");
    }
    Ok(figures)
}

/// The JSON lines that a bench target prints.
pub(super) fn lines(package: &str, bench: &str) -> Result<Vec<Value>> {
    lines_with(package, bench, &[])
}

fn lines_with(package: &str, bench: &str, binaries: &[(&str, PathBuf)]) -> Result<Vec<Value>> {
    let printed = repo::output(
        repo::cargo()
            .args(["bench", "--quiet", "--locked", "-p", package, "--bench", bench])
            .envs(binaries.iter().map(|(name, path)| (name, path)))
            .stderr(std::process::Stdio::inherit()),
    )?;
    Ok(printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
