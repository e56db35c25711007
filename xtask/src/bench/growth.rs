//! `growth`: what an operation of the store costs among a thousand keys and among a million.

use anyhow::Result;

use super::{
    callgrind,
    record::{Aim, Figure},
};

const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// As the benchmark counts.
const COUNTED: f64 = 200.0;
/// Of what grows with the logarithm of the keys, or not at all: instructions grow with this power of the keys.
const EXPONENT: f64 = 0.15;
const OPERATIONS: [(&str, &str); 5] = [
    ("put", "put of a new key"),
    ("range", "linearizable range of one key"),
    ("page", "page of 256 keys"),
    ("count", "count of the rest of the keys"),
    ("event", "put with its watch event, one watch a key up to 10,000"),
];

pub(super) fn run() -> Result<Vec<Figure>> {
    let binary = callgrind::build("kvstore-server", "growth")?;
    let mut figures = Vec::new();
    for (operation, name) in OPERATIONS {
        let mut points = Vec::new();
        for keys in SIZES {
            let words = [operation.to_owned(), keys.to_string(), "wait".to_owned()];
            let count = callgrind::instructions(&binary, "growth::counted", &words)? as f64 / COUNTED;
            points.push((keys as f64, count));
            figures.push(Figure {
                name: format!("{name} among {keys}"),
                value: count.round(),
                unit: "instructions".to_owned(),
                aim: None,
                command: format!("valgrind --tool=callgrind {} {}", binary.display(), words.join(" ")),
            });
        }
        figures.push(Figure {
            name: format!("{name}: power of the number of keys"),
            value: (exponent(&points) * 1000.0).round() / 1000.0,
            unit: String::new(),
            aim: Some(Aim::AtMost(EXPONENT)),
            command: "cargo xtask bench growth".to_owned(),
        });
    }
    Ok(figures)
}

/// The slope of a line through the logarithms of the points, by least squares.
fn exponent(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean_x = logs.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = logs.iter().map(|(_, y)| y).sum::<f64>() / count;
    let above: f64 = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    above / logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slope_of_a_line_a_root_and_a_constant() {
        let sizes = [1e3, 1e4, 1e5];
        let slope = |of: fn(f64) -> f64| (exponent(&sizes.map(|x| (x, of(x)))) * 100.0).round() / 100.0;
        assert_eq!([slope(|x| 7.0 * x), slope(f64::sqrt), slope(|_| 5.0)], [1.0, 0.5, 0.0]);
    }
}
