//! Instructions of one function of a bench target, counted by callgrind: they repeat to a thousandth on any machine.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{repo, setup};

/// Installs valgrind if need be, builds the benchmark and says where it is.
pub(super) fn build(package: &str, bench: &str) -> Result<PathBuf> {
    if !Path::new("/usr/bin/valgrind").exists() {
        setup::install(&["valgrind"])?;
    }
    let printed = repo::output(
        repo::cargo()
            .args(["bench", "--quiet", "--locked", "-p", package, "--bench", bench, "--no-run"])
            .arg("--message-format=json"),
    )?;
    let built = printed.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = built.filter(|line| line["target"]["name"] == bench);
    let path = executables.find_map(|line| line["executable"].as_str().map(PathBuf::from));
    path.with_context(|| format!("cargo does not say where it put {bench}"))
}

/// What callgrind counts below functions whose name contains `function`. A program that prints `ready` and then waits for
/// a line is not slowed by counting until then.
pub(super) fn instructions(binary: &Path, function: &str, words: &[String]) -> Result<u64> {
    let waits = words.iter().any(|word| word == "wait");
    let mut child = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--toggle-collect=*{function}*"), "--callgrind-out-file=/dev/null"])
        .arg(format!("--instr-atstart={}", if waits { "no" } else { "yes" }))
        .arg(binary)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start valgrind")?;
    if waits && let (Some(printed), Some(mut line)) = (child.stdout.take(), child.stdin.take()) {
        let said = BufReader::new(printed).lines().next().transpose()?;
        if said.as_deref() != Some("ready") {
            bail!("{} said {said:?} before it was ready", binary.display());
        }
        repo::output(Command::new("callgrind_control").args(["-i", "on", &child.id().to_string()]))?;
        writeln!(line).context("tell the benchmark to go on")?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("valgrind: {}\n{said}", output.status);
    }
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok()).filter(|count| *count > 0);
    count.with_context(|| format!("valgrind counted nothing:\n{said}"))
}
