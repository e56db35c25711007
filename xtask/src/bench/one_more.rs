//! `one-more`: the instructions that one more address costs, among few and among many.

use anyhow::Result;

use super::{
    callgrind,
    record::{Aim, Figure},
};

const SIZES: [u64; 3] = [1000, 10_000, 100_000];
const EXTRA: u64 = 500;
/// From the fewest to the most.
const AIM: f64 = 1.2;

pub(super) fn run() -> Result<Vec<Figure>> {
    let binary = callgrind::build("ipcache", "one_more")?;
    let mut figures = Vec::new();
    let mut counts = Vec::new();
    for entries in SIZES {
        let words = ["--entries".to_owned(), entries.to_string(), "--extra".to_owned(), EXTRA.to_string()];
        let count = callgrind::instructions(&binary, "additional_entry", &words)? as f64 / EXTRA as f64;
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
