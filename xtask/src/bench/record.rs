//! What a benchmark found: printed for people, appended as JSON for comparison.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::git;
use crate::repo;

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: String,
    pub(super) aim: Option<Aim>,
    /// How to take it again.
    pub(super) command: String,
}

/// What the number should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Aim {
    AtMost(f64),
}

// === impl Figure ===

impl Figure {
    /// A line that a bench target printed: `{"name":..,"value":..,"unit":..}` and, where there is one, `"aim"`.
    pub(super) fn read(line: &Value, command: &str) -> Option<Self> {
        Some(Self {
            name: line["name"].as_str()?.to_owned(),
            value: line["value"].as_f64()?,
            unit: line["unit"].as_str()?.to_owned(),
            aim: line["aim"].as_f64().map(Aim::AtMost),
            command: command.to_owned(),
        })
    }

    fn met(&self) -> Option<bool> {
        self.aim.map(|Aim::AtMost(aim)| self.value <= aim)
    }

    fn line(&self) -> String {
        let verdict = match (self.aim, self.met()) {
            (Some(Aim::AtMost(aim)), Some(met)) => {
                format!("  (aim: at most {aim}: {})", if met { "met" } else { "NOT met" })
            }
            _ => String::new(),
        };
        format!("{}: {} {}{verdict}", self.name, self.value, self.unit)
    }
}

/// Prints the figures of a benchmark and appends them to its file.
pub(super) fn record(bench: &str, figures: &[Figure]) -> Result<()> {
    let dir = repo::target().join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let path = dir.join(format!("{bench}.jsonl"));
    let mut file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.as_mut().map_err(|error| anyhow::anyhow!("open {}: {error}", path.display()))?;
    let dirty = if git(&["status", "--porcelain"]).is_empty() { "" } else { "+changes" };
    let host = json!({
        "kernel": read("/proc/sys/kernel/osrelease"), "cpu": cpu(), "load": read("/proc/loadavg"),
        "cpus": std::thread::available_parallelism().map_or(0, usize::from),
    });
    let date = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    for figure in figures {
        println!("{bench}: {}", figure.line());
        let line = json!({
            "bench": bench, "name": figure.name, "value": figure.value, "unit": figure.unit,
            "aim": figure.aim.map(|Aim::AtMost(aim)| aim), "met": figure.met(), "command": figure.command,
            "date": date, "commit": format!("{}{dirty}", git(&["rev-parse", "--short=12", "HEAD"])), "host": host,
        });
        writeln!(file, "{line}").with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn cpu() -> String {
    let text = read("/proc/cpuinfo");
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    model.unwrap_or_default().trim_start_matches(['\t', ' ', ':']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_says_whether_the_aim_is_met() {
        let check = |value: f64, aim: Option<f64>, expect: &str| {
            let mut line = json!({"name": "list", "value": value, "unit": "s"});
            if let Some(aim) = aim {
                line["aim"] = aim.into();
            }
            assert_eq!(Figure::read(&line, "c").map(|figure| figure.line()).as_deref(), Some(expect));
        };
        check(0.5, Some(1.0), "list: 0.5 s  (aim: at most 1: met)");
        check(1.5, Some(1.0), "list: 1.5 s  (aim: at most 1: NOT met)");
        check(1.5, None, "list: 1.5 s");
        assert_eq!(Figure::read(&json!({"name": "no value"}), "c"), None);
    }
}
