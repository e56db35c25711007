//! Every scenario of `causeway chaos`, as an operator runs them: against a kept demo, by the command line.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::Binaries;

#[test]
fn nothing_is_lost_when_something_dies() {
    let Some(_machine) = crate::machine("chaos") else { return };
    let folder = tempfile::tempdir().unwrap();
    let story = story(folder.path());
    let down = demo(folder.path(), &["--down"]);
    story.unwrap_or_else(|error| panic!("{error:#}"));
    down.expect("the demo is taken down");
}

fn story(dir: &Path) -> Result<()> {
    ensure!(chaos(dir, &["run", "all"]).is_err(), "there is nothing to break yet");
    demo(dir, &["--keep", "--only", "1"])?;
    let unknown = chaos(dir, &["run", "everything"]).err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(unknown.contains("there is no scenario"), "{unknown}");
    let listed: Vec<Value> = serde_json::from_str(&chaos(dir, &["list", "-o", "json"])?)?;
    let long = std::env::var("CAUSEWAY_TEST_LONG").is_ok_and(|value| value == "1");
    let mut words = vec!["run", "all", "-o", "json"];
    words.extend(long.then_some("--long"));
    let run = chaos(dir, &words);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("chaos/report.json"))?)?;
    println!("{}", chaos(dir, &["report"])?);
    let ran = report["scenarios"].as_array().context("a report has scenarios")?;
    let left_out = report["left_out"].as_array().context("a report says what it left out")?;
    ensure!(
        ran.len() + left_out.len() == listed.len() && ran.len() >= 28,
        "{} of {} scenarios ran",
        ran.len(),
        listed.len()
    );
    let shortened = ran.iter().filter_map(|scenario| scenario["shortened"].as_str()).count();
    ensure!((shortened == 0 && left_out.is_empty()) == long, "{shortened} were shortened, {left_out:?} left out");
    let failing: Vec<String> = ran.iter().flat_map(failing).collect();
    ensure!(failing.is_empty(), "{}", failing.join("\n"));
    run?;
    for scenario in ran {
        let kinds: Vec<_> = scenario["timeline"].as_array().into_iter().flatten().map(|entry| &entry["kind"]).collect();
        ensure!(kinds.iter().any(|kind| *kind == "inject"), "{} broke nothing", scenario["name"]);
    }
    let html = chaos(dir, &["report", "--format", "html"])?;
    ensure!(html.contains("<svg") && html.contains("agent-killed"), "the page has no timeline");
    Ok(())
}

/// What a scenario found wrong, a line a check.
fn failing(scenario: &Value) -> Vec<String> {
    let checks = scenario["checks"].as_array().into_iter().flatten().filter(|check| check["passed"] != true);
    checks.map(|check| format!("{}: {}: {}", scenario["name"], check["name"], check["detail"])).collect()
}

fn chaos(dir: &Path, words: &[&str]) -> Result<String> {
    let mut command = Command::new(Binaries::beside_us()?.causeway);
    command.arg("chaos").args(words).env("CAUSEWAY_DEMO_DIR", dir);
    run(command)
}

fn demo(dir: &Path, words: &[&str]) -> Result<String> {
    let mut command = Command::new(Binaries::beside_us()?.causeway.with_file_name("testbed"));
    command.arg("demo").arg("--dir").arg(dir).args(words);
    run(command)
}

fn run(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("start a command")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{command:?}: {}{text}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}
