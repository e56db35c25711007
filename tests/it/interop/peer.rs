//! A part that Cilium's packages play: a process that takes a command a line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testbed::Binaries;

/// How long a command may take.
const ANSWER: Duration = Duration::from_secs(120);

/// The process. Dropping it is a crash: its leases stay behind.
pub(super) struct Peer {
    child: Child,
    commands: ChildStdin,
    lines: Receiver<String>,
    /// A line that was looked for, and not yet read.
    early: Option<String>,
    /// Warnings and errors that Cilium's packages logged.
    pub(super) complaints: Vec<String>,
}

/// A binary of another project, or a loud skip; in CI there is none.
pub(super) fn binary(test: &str, name: &str) -> Option<PathBuf> {
    let ours = Binaries::beside_us().expect("the tests lie beside the binaries").causeway;
    let path = ours.parent()?.parent()?.join("peers").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("SKIP {test}: no target/peers/{name} (cargo xtask test builds it, with Go)");
    assert!(std::env::var_os("CI").is_none(), "no target/peers/{name}, and in CI nothing may be skipped");
    None
}

impl Peer {
    /// Starts a part in a namespace and waits until it is connected.
    pub(super) fn start(netns: &str, part: &str, flags: &[String]) -> Result<Self> {
        let program = binary("interop", "interop-cilium").context("there is no interop-cilium")?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}/{netns}", netlink::NETNS_DIR)).arg("--").arg(program).arg(part).args(flags);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().with_context(|| format!("start Cilium's part {part}"))?;
        let commands = child.stdin.take().context("it has a standard input")?;
        let output = BufReader::new(child.stdout.take().context("it has a standard output")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut peer = Self { child, commands, lines, early: None, complaints: Vec::new() };
        peer.answer().with_context(|| format!("start {part}"))?;
        Ok(peer)
    }

    /// What it answers to a command.
    pub(super) fn ask(&mut self, command: &str) -> Result<Vec<String>> {
        self.tell(command)?;
        self.answer().with_context(|| format!("{command:?}"))
    }

    /// Gives it a command; [`answer`](Self::answer) waits for the end of it.
    pub(super) fn tell(&mut self, command: &str) -> Result<()> {
        writeln!(self.commands, "{command}").with_context(|| format!("tell it to {command}"))
    }

    /// Whether it answers within this time; the answer is not lost.
    pub(super) fn answers_within(&mut self, time: Duration) -> bool {
        if self.early.is_none() {
            self.early = self.lines.recv_timeout(time).ok();
        }
        self.early.is_some()
    }

    /// The numbers behind `KIND WHAT` in what it answers to a command.
    pub(super) fn counts(&mut self, command: &str, kind: &str) -> Result<BTreeMap<String, Vec<usize>>> {
        let lines = self.ask(command)?;
        let words = lines.iter().map(|line| line.split(' ').collect::<Vec<_>>());
        let mut found = BTreeMap::new();
        for words in words.filter(|words| words.len() > 2 && words[0] == kind) {
            let numbers = words[2..].iter().map(|word| word.parse()).collect::<Result<Vec<usize>, _>>();
            found.insert(words[1].to_owned(), numbers.with_context(|| words.join(" "))?);
        }
        ensure!(!found.is_empty(), "no line {kind} in {lines:?}");
        Ok(found)
    }

    /// Kills it.
    pub(super) fn crash(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }

    /// What it answers to the command that it was told.
    pub(super) fn answer(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = match self.early.take() {
                Some(line) => line,
                None => self.lines.recv_timeout(ANSWER).context("it answers in time")?,
            };
            match line.split_once(' ') {
                None if line == "end" => return Ok(lines),
                Some(("error:", error)) => bail!("{error}"),
                Some(("complaint", complaint)) => self.complaints.push(complaint.to_owned()),
                _ => lines.push(line),
            }
        }
    }

    /// Cilium has had nothing to complain about.
    pub(super) fn check_silent(&self) -> Result<()> {
        ensure!(self.complaints.is_empty(), "Cilium complains: {:#?}", self.complaints);
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.crash();
    }
}
