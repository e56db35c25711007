//! A run as a table: a row a scenario, for whoever compares runs.

use super::{Report, ScenarioReport};
use crate::timeline::EntryKind;

const COLUMNS: [&str; 10] = [
    "SCENARIO",
    "HELD",
    "RAN",
    "LOST",
    "LEAKED",
    "RESET",
    "KEYS LOST",
    "GAP MS",
    "CONVERGED S",
    "STATUS SAID MEANWHILE",
];

/// Header and rows, each column as wide as its widest cell.
pub(super) fn lines(report: &Report) -> String {
    let header = COLUMNS.map(str::to_owned);
    let mut rows: Vec<[String; 10]> = std::iter::once(header).chain(report.scenarios.iter().map(row)).collect();
    for name in &report.left_out {
        let mut cells = COLUMNS.map(|_| "-".to_owned());
        (cells[0], cells[2]) = (name.clone(), "0 of 1".to_owned());
        rows.push(cells);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let line = |row: &[String; 10]| -> String {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(scenario: &ScenarioReport) -> [String; 10] {
    let lost: usize = scenario.paths.iter().filter(|path| path.allowed).map(|path| path.lost).sum();
    let leaked: usize = scenario.paths.iter().filter(|path| !path.allowed).map(|path| path.received).sum();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let said = scenario.timeline.iter().find(|entry| entry.kind == EntryKind::Said);
    [
        scenario.name.clone(),
        if scenario.passed { "yes" } else { "NO" }.to_owned(),
        scenario.figures.shortened.as_ref().map_or("all", |ran| ran.trim_start_matches("ran ")).to_owned(),
        lost.to_string(),
        leaked.to_string(),
        scenario.resets.to_string(),
        or_dash(scenario.figures.keys_lost.map(|lost| lost.to_string())),
        format!("{:.0}", scenario.longest_gap_ms),
        or_dash(scenario.figures.converged_s.map(|seconds| format!("{seconds:.1}"))),
        or_dash(said.map(|entry| entry.text.clone())),
    ]
}
