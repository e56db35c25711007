//! Part of `control`: the instructions that one change costs, among few and among many.

use anyhow::Result;

use super::{
    callgrind,
    record::{Aim, Figure},
};

const ADDRESSES: [u64; 4] = [1000, 10_000, 100_000, 500_000];
/// A cluster has no more than 65,536.
const IDENTITIES: [u64; 3] = [1000, 10_000, 60_000];
/// As the benchmark names them.
const CHANGES: [(&str, &str, &[u64]); 4] = [
    ("added", "an address that comes", &ADDRESSES),
    ("changed", "an address that changes", &ADDRESSES),
    ("deleted", "an address that goes", &ADDRESSES),
    ("identity", "an identity that comes", &IDENTITIES),
];
/// Changes that are counted.
const COUNT: u64 = 8;
/// From the fewest to the most.
const AIM: f64 = 1.2;

pub(super) fn run() -> Result<Vec<Figure>> {
    let binary = callgrind::build("agent", "one_more")?;
    let mut figures = Vec::new();
    for (change, name, sizes) in CHANGES {
        let mut counts = Vec::new();
        for entries in sizes {
            let flags =
                [("--change", change.to_owned()), ("--entries", entries.to_string()), ("--count", COUNT.to_string())];
            let words: Vec<String> = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
            let count = callgrind::instructions(&binary, "one_change", &words)? as f64 / COUNT as f64;
            counts.push(count);
            figures.push(Figure {
                name: format!("{name}, among {entries}"),
                value: count.round(),
                unit: "instructions".to_owned(),
                aim: None,
                command: format!(
                    "valgrind --tool=callgrind --toggle-collect='*one_change*' {} {}",
                    binary.display(),
                    words.join(" ")
                ),
            });
        }
        let (fewest, most) = (counts[0], counts[counts.len() - 1]);
        figures.push(Figure {
            name: format!("{name}, among {} over among {}", sizes[sizes.len() - 1], sizes[0]),
            value: (most / fewest * 1000.0).round() / 1000.0,
            unit: "x".to_owned(),
            aim: Some(Aim::AtMost(AIM)),
            command: "cargo xtask bench control".to_owned(),
        });
    }
    Ok(figures)
}
