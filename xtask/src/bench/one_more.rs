//! `one-more`: the instructions that one more address costs, among few and among many.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::record::{Aim, Figure};
use crate::{repo, setup};

const SIZES: [u64; 3] = [1000, 10_000, 100_000];
const EXTRA: u64 = 500;
/// From the fewest to the most.
const AIM: f64 = 1.2;

pub(super) fn run() -> Result<Vec<Figure>> {
    if !Path::new("/usr/bin/valgrind").exists() {
        setup::install(&["valgrind"])?;
    }
    let binary = build()?;
    let mut figures = Vec::new();
    let mut counts = Vec::new();
    for entries in SIZES {
        let words = ["--entries".to_owned(), entries.to_string(), "--extra".to_owned(), EXTRA.to_string()];
        let count = instructions(&binary, &words)? as f64 / EXTRA as f64;
        counts.push(count);
        figures.push(Figure {
            name: format!("instructions for one more ip entry among {entries}"),
            value: count.round(),
            unit: "instructions".to_owned(),
            aim: None,
            command: format!(
                "valgrind --tool=callgrind --toggle-collect='*additional_entry*' {} {}",
                binary.display(),
                words.join(" ")
            ),
        });
    }
    let (fewest, most) = (counts[0], counts[counts.len() - 1]);
    figures.push(Figure {
        name: format!("one more ip entry among {} over one among {}", SIZES[2], SIZES[0]),
        value: (most / fewest * 1000.0).round() / 1000.0,
        unit: "x".to_owned(),
        aim: Some(Aim::AtMost(AIM)),
        command: "cargo xtask bench one-more".to_owned(),
    });
    Ok(figures)
}

/// Builds the benchmark and says where it is.
fn build() -> Result<PathBuf> {
    let printed = repo::output(
        repo::cargo()
            .args(["bench", "--quiet", "--locked", "-p", "ipcache", "--bench", "one_more", "--no-run"])
            .arg("--message-format=json"),
    )?;
    let built = printed.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = built.filter(|line| line["target"]["name"] == "one_more");
    let path = executables.find_map(|line| line["executable"].as_str().map(PathBuf::from));
    path.context("cargo does not say where it put one_more")
}

/// What callgrind counts below `additional_entry`.
fn instructions(binary: &Path, words: &[String]) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*additional_entry*", "--callgrind-out-file=/dev/null"])
        .arg(binary)
        .args(words)
        .output()
        .context("start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("valgrind: {}\n{said}", output.status);
    }
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok()).filter(|count| *count > 0);
    count.with_context(|| format!("valgrind counted nothing:\n{said}"))
}
