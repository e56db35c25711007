//! A process that plays a part: Cilium's packages, or ours. It prints its answers as lines, and "end" after each.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::server::binary;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Cilium,
    Ours,
}

/// A running part. Dropping it ends it.
pub(crate) struct Part {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// What it said when it had begun.
    pub(crate) began: Vec<String>,
}

impl Part {
    pub(crate) fn start(side: Side, part: &str, words: &[String]) -> Result<Self> {
        let program = match side {
            Side::Cilium => binary("CAUSEWAY_BENCH_CILIUM")?,
            Side::Ours => std::env::current_exe()?,
        };
        let mut command = Command::new(program);
        command.arg(part).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start {side:?}"))?;
        let input = child.stdin.take().context("its input is a pipe")?;
        let output = BufReader::new(child.stdout.take().context("its output is a pipe")?).lines();
        let mut part = Self { child, input, output, began: Vec::new() };
        part.began = part.answer()?;
        Ok(part)
    }

    pub(crate) fn ask(&mut self, command: &str) -> Result<Vec<String>> {
        writeln!(self.input, "{command}")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for line in self.output.by_ref() {
            let line = line?;
            match line.as_str() {
                "end" => return Ok(lines),
                failed if failed.starts_with("error") => bail!("{failed}"),
                // The peer's warnings.
                complaint if complaint.starts_with("complaint") => eprintln!("{complaint}"),
                _ => lines.push(line),
            }
        }
        bail!("it ended after {lines:?}")
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A number of the JSON object that is the first line of an answer.
pub(crate) fn number(answer: &[String], field: &str) -> Result<f64> {
    let line = answer.first().context("an empty answer")?;
    let object: Value = serde_json::from_str(line).with_context(|| line.clone())?;
    object[field].as_f64().with_context(|| format!("no {field} in {line}"))
}

/// Plays a part of ours: what it says at first, and then an answer to each line.
pub(crate) fn play(first: String, mut answer: impl FnMut(&str) -> Result<String>) -> Result<()> {
    println!("{first}\nend");
    for line in std::io::stdin().lines() {
        match answer(&line?) {
            Ok(text) if text.is_empty() => println!("end"),
            Ok(text) => println!("{text}\nend"),
            Err(error) => println!("error: {error:#}\nend"),
        }
    }
    Ok(())
}
