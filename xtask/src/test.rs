//! `cargo xtask test`: all set-up, then every test; prints the totals last.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{peers, repo, setup, tidy};

/// Which tests run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out what needs root or minutes
    #[arg(long)]
    quick: bool,
    /// Run the full counts of tests that are shortened by default
    #[arg(long)]
    long: bool,
    /// Kind of the stores of meshes: embedded, or etcd
    #[arg(long, default_value = "embedded", value_parser = ["embedded", "etcd"])]
    store: String,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// What the test binaries reported.
#[derive(Default)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
    skipped: Vec<String>,
    /// The reports of panics, a line each.
    panics: Vec<String>,
    /// Lines of the last of them that are still to come.
    open: usize,
}

/// Lines that are kept of the report of a panic.
const REPORT: usize = 12;
/// And characters of a line.
const WIDTH: usize = 800;

pub(crate) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    setup::run()?;
    let peers = peers::build()?;
    let root = repo::is_root();
    let quick = args.quick || !root;
    if !root && !args.quick {
        eprintln!("test: not root: what needs namespaces, programs or a raw socket is left out, as with --quick");
    }
    if args.filter.is_none() {
        tidy::run()?;
    }
    // The demo's nodes run the binaries: they must be of the tree under test.
    repo::build_binaries()?;
    let totals = cargo_test(args, quick)?;
    for skipped in &totals.skipped {
        println!("{skipped}");
    }
    if quick {
        println!("left out (--quick or not root): the tests that need namespaces, eBPF programs or minutes");
    }
    println!("test: {:.0} s", started.elapsed().as_secs_f64());
    // What needs Go may be left out where there is none; in CI the lack of it ended this run already.
    let excused = |skip: &String| peers == peers::Peers::NoGo && skip.ends_with("with Go)");
    let skipped = totals.skipped.len() as u64 + totals.ignored;
    let excused = totals.skipped.iter().filter(|skip| excused(skip)).count() as u64;
    println!("{} passed, {} failed, {} skipped", totals.passed, totals.failed, skipped);
    if totals.failed > 0 {
        // Thousands of lines lie between a failure and the end.
        println!("why tests failed:");
        totals.panics.iter().for_each(|line| println!("  {line}"));
        bail!("{} tests failed", totals.failed);
    }
    if !quick && skipped > excused {
        bail!("{} tests were skipped although this is a full run as root", skipped - excused);
    }
    if totals.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// Runs every test binary and echoes what it prints; a build failure is an error of its own.
fn cargo_test(args: &Args, quick: bool) -> Result<Totals> {
    let mut command = if quick { repo::cargo() } else { sandboxed(&repo::cargo()) };
    command.args(["test", "--quiet", "--workspace", "--locked", "--no-fail-fast"]);
    if let Some(filter) = &args.filter {
        command.arg(filter);
    }
    // Tests report a skip on standard output; --show-output lets it through when they pass.
    command.args(["--", "--show-output"]);
    for (set, variable) in [(quick, "CAUSEWAY_TEST_QUICK"), (args.long, "CAUSEWAY_TEST_LONG")] {
        if set {
            command.env(variable, "1");
        } else {
            command.env_remove(variable);
        }
    }
    command.env("CAUSEWAY_TEST_STORE", &args.store);
    let mut child = command.stdout(Stdio::piped()).spawn().context("start cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no standard output")?;
    let mut totals = Totals::default();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("read what cargo test prints")?;
        totals.count(&line);
        writeln!(std::io::stdout(), "{line}").context("echo what cargo test prints")?;
    }
    let status = child.wait().context("wait for cargo test")?;
    if !status.success() && totals.failed == 0 {
        bail!("cargo test: {status} without a failed test: a test binary did not build, or died");
    }
    Ok(totals)
}

/// What runs as the first process of the sandbox: mounts of its own for namespaces and pins, and an end on a signal
/// that a first process would otherwise ignore.
const SANDBOX: &str = r#"
set -e
mkdir -p /run/netns /sys/fs/bpf
mount -t tmpfs tmpfs /run/netns
mount -t bpf bpf /sys/fs/bpf
trap 'exit 130' INT TERM HUP
"$@" &
wait $!
"#;

/// The command with mounts and processes of its own: whatever ends the tests, the kernel takes their namespaces, pins and
/// processes away with them.
pub(crate) fn sandboxed(command: &Command) -> Command {
    let mut sandboxed = Command::new("unshare");
    sandboxed.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "--"]);
    sandboxed.args(["sh", "-c", SANDBOX, "sh"]).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        sandboxed.current_dir(dir);
    }
    sandboxed
}

impl Totals {
    fn count(&mut self, line: &str) {
        if line.starts_with("SKIP ") {
            self.skipped.push(line.to_owned());
        }
        if line.starts_with("thread '") && line.contains(" panicked at ") {
            self.open = REPORT;
        }
        self.open = if line.is_empty() || line == "stack backtrace:" { 0 } else { self.open };
        if self.open > 0 {
            self.open -= 1;
            self.panics.push(line.chars().take(WIDTH).collect());
        }
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let number = |what: &str| {
            let words: Vec<&str> = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
            let at = words.iter().position(|word| *word == what)?;
            words[at.checked_sub(1)?].parse::<u64>().ok()
        };
        self.passed += number("passed").unwrap_or(0);
        self.failed += number("failed").unwrap_or(0);
        self.ignored += number("ignored").unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_over_binaries_and_keep_each_skip() {
        let mut totals = Totals::default();
        for line in [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "SKIP netlink: needs root",
            "thread 'chaos' (7) panicked at it/chaos.rs:16:34:",
            "agent-killed did not pass",
            "stack backtrace:",
            "   0: a frame",
            "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            totals.count(line);
        }
        assert_eq!((totals.passed, totals.failed, totals.ignored), (5, 4, 1));
        assert_eq!(totals.skipped, ["SKIP netlink: needs root"]);
        assert_eq!(totals.panics[1..], ["agent-killed did not pass"]);
    }
}
