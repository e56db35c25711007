//! What a process has used, as one of its parts says it: CPU seconds, anonymous memory now and at the most.

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};

/// The fields of a JSON object, as the peer prints them.
pub(crate) fn fields() -> Result<String> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let (user, system) = (usage.user_time(), usage.system_time());
    let cpu = (user.tv_sec() + system.tv_sec()) as f64 + (user.tv_usec() + system.tv_usec()) as f64 / 1e6;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let size = |field: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("a size")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? << 10)
    };
    let peak = size("VmHWM:")?.saturating_sub(size("RssFile:")?);
    Ok(format!(r#""cpu":{cpu:.3},"anon":{},"peak":{peak}"#, size("RssAnon:")?))
}
