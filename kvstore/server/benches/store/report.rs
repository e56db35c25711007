//! Figures: ratios of neighbouring pairs, their median, and every pair.

use anyhow::{Result, ensure};

/// Pairs that a row takes.
pub(crate) fn pairs() -> usize {
    std::env::var("CAUSEWAY_BENCH_PAIRS").ok().and_then(|text| text.parse().ok()).unwrap_or(7)
}

/// Takes pairs, peer and ours alternating in order, and prints the median of ours against the peer's.
pub(crate) fn compare(name: &str, unit: &str, aim: Option<f64>, values: &[(f64, f64)]) -> Result<()> {
    ensure!(!values.is_empty(), "{name}: no pair");
    let ratios: Vec<f64> = values.iter().map(|(peer, ours)| ours / peer).collect();
    let shown: Vec<String> = values.iter().map(|(peer, ours)| format!("{peer:.3}/{ours:.3}")).collect();
    let (peer, ours) = (median(values.iter().map(|pair| pair.0)), median(values.iter().map(|pair| pair.1)));
    eprintln!("{name}: peer/ours in {unit}: {}", shown.join(" "));
    line(
        &format!("{name}, ours against the peer's ({ours:.2} against {peer:.2} {unit})"),
        median(ratios.into_iter()),
        "x",
        aim,
    );
    Ok(())
}

pub(crate) fn line(name: &str, value: f64, unit: &str, aim: Option<f64>) {
    let aim = aim.map_or_else(String::new, |aim| format!(r#","aim":{aim}"#));
    println!(r#"{{"name":"{name}","value":{:.3},"unit":"{unit}"{aim}}}"#, value);
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    percentile(values, 0.5)
}

pub(crate) fn percentile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
