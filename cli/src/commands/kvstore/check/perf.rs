//! `check perf`: a steady load for a minute.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use kvstore::EtcdConfig;

use super::writers::{Report, Until, Work, write};
use super::{Load, clean_up, connect};
use crate::output::print;

#[derive(clap::Args)]
#[group(id = "perf")]
pub(crate) struct Args {
    /// s, m, l or xl: 150, 1,000, 8,000 or 15,000 writes a second of 50, 200, 500 or 1,000 clients
    #[arg(long, value_enum, default_value = "s")]
    load: Load,
    /// What keys begin with
    #[arg(long, default_value = "/etcdctl-check-perf/")]
    prefix: String,
    /// How long it writes
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Compact afterwards
    #[arg(long)]
    auto_compact: bool,
    /// Defragment afterwards
    #[arg(long)]
    auto_defrag: bool,
}

const KEY_BYTES: usize = 256;
const VALUE_BYTES: usize = 1024;
const SLOWEST_SECS: f64 = 0.5;
const DEVIATION_SECS: f64 = 0.1;
/// Of what was asked for.
const SHARE: f64 = 0.9;

pub(super) async fn run(args: &Args, config: &EtcdConfig) -> Result<ExitCode> {
    let (per_sec, clients) = match args.load {
        Load::Small => (150, 50),
        Load::Medium => (1_000, 200),
        Load::Large => (8_000, 500),
        Load::ExtraLarge => (15_000, 1_000),
    };
    let mut clients = connect(config, clients, &args.prefix).await?;
    let work = Work {
        prefix: args.prefix.clone(),
        key_bytes: KEY_BYTES,
        value_bytes: VALUE_BYTES,
        per_sec: Some(per_sec),
        until: Until::Passed(Duration::from_secs(args.seconds)),
    };
    let report = write(&clients, work).await?;
    clean_up(&mut clients[0], &args.prefix, args.auto_compact, args.auto_defrag).await?;
    let (passed, text) = judged(&report, per_sec);
    print(&text)?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn judged(report: &Report, per_sec: u64) -> (bool, String) {
    let (mut passed, mut text) = (true, String::new());
    let mut line = |good: bool, line: String| {
        passed &= good;
        text.push_str(&line);
        text.push('\n');
    };
    if !report.errors.is_empty() {
        line(false, "FAIL: too many errors".to_owned());
        for (error, count) in &report.errors {
            line(false, format!("FAIL: ERROR({error}) -> {count}"));
        }
    }
    let (throughput, slowest, deviation) = (report.per_sec(), report.slowest_secs(), report.deviation_secs());
    match throughput / per_sec as f64 > SHARE {
        true => line(true, format!("PASS: Throughput is {} writes/s", throughput as u64 + 1)),
        false => line(false, format!("FAIL: Throughput too low: {} writes/s", throughput as u64 + 1)),
    }
    match slowest <= SLOWEST_SECS {
        true => line(true, format!("PASS: Slowest request took {slowest:.6}s")),
        false => line(false, format!("Slowest request took too long: {slowest:.6}s")),
    }
    match deviation <= DEVIATION_SECS {
        true => line(true, format!("PASS: Stddev is {deviation:.6}s")),
        false => line(false, format!("Stddev too high: {deviation:.6}s")),
    }
    let end = if passed { "PASS\n" } else { "FAIL\n" };
    (passed, text + end)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn judge(took_ms: &[u64], errors: &[(&str, usize)], whole_secs: u64, per_sec: u64) -> (bool, String) {
        let took = took_ms.iter().map(|ms| Duration::from_millis(*ms)).collect();
        let errors: BTreeMap<_, _> = errors.iter().map(|(error, count)| ((*error).to_owned(), *count)).collect();
        judged(&Report { took, errors, whole: Duration::from_secs(whole_secs) }, per_sec)
    }

    #[test]
    fn each_threshold_is_judged_by_itself() {
        let good =
            "PASS: Throughput is 11 writes/s\nPASS: Slowest request took 0.002000s\nPASS: Stddev is 0.000000s\nPASS\n";
        assert_eq!(judge(&[2; 10], &[], 1, 10), (true, good.to_owned()));
        let slow = judge(&[2; 10], &[], 2, 10);
        assert!(!slow.0 && slow.1.contains("FAIL: Throughput too low: 6 writes/s\n") && slow.1.ends_with("\nFAIL\n"));
        let mut uneven = vec![2; 9];
        uneven.push(501);
        let uneven = judge(&uneven, &[], 1, 10);
        assert!(!uneven.0 && uneven.1.contains("Slowest request took too long: 0.501000s\nStddev too high: 0.149700s"));
        let wrong = judge(&[2; 10], &[("x", 3)], 1, 10);
        assert!(!wrong.0 && wrong.1.starts_with("FAIL: too many errors\nFAIL: ERROR(x) -> 3\n"));
    }
}
