//! h2load with a canned gRPC request: a neutral client that costs little itself.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result, bail};
use prost::Message;

use crate::report::percentile;

/// How the load is shaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) connections: u32,
    pub(crate) streams: u32,
    pub(crate) requests: u32,
    /// Requests a second over all connections; 0 is as fast as it goes.
    pub(crate) rate: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Where the load goes, and who sends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) token: Option<&'a str>,
}

pub(crate) fn run(port: u16, path: &str, message: &impl Message, shape: Shape) -> Result<Load> {
    run_at(Place { port, tls: false, token: None }, path, message, shape)
}

pub(crate) fn run_at(place: Place<'_>, path: &str, message: &impl Message, shape: Shape) -> Result<Load> {
    let dir = tempfile::tempdir()?;
    let (body, log) = (dir.path().join("body"), dir.path().join("log"));
    let message = message.encode_to_vec();
    let mut file = std::fs::File::create(&body)?;
    file.write_all(&[0])?;
    file.write_all(&(message.len() as u32).to_be_bytes())?;
    file.write_all(&message)?;
    let mut command = Command::new("h2load");
    command
        .args(["-t", "1", "-H", "content-type: application/grpc", "-H", "te: trailers"])
        .args(["-n", &shape.requests.to_string(), "-c", &shape.connections.to_string()])
        .args(["-m", &shape.streams.to_string(), "-d"])
        .arg(&body)
        .arg(format!("--log-file={}", log.display()));
    if shape.rate > 0 {
        command.arg(format!("--rps={}", shape.rate / shape.connections));
    }
    if let Some(token) = place.token {
        command.args(["-H", &format!("token: {token}")]);
    }
    let scheme = if place.tls { "https" } else { "http" };
    let output = command
        .arg(format!("{scheme}://127.0.0.1:{}{path}", place.port))
        .output()
        .context("run h2load (Debian: nghttp2-client)")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate =
        text.lines().find_map(|line| line.strip_prefix("finished in ")?.split(", ").nth(1)?.strip_suffix(" req/s"));
    let Some(rate) = rate else { bail!("h2load: {text}{}", String::from_utf8_lossy(&output.stderr)) };
    if !text.contains(&format!("{} succeeded, 0 failed", shape.requests)) {
        bail!("h2load: not every request succeeded: {text}");
    }
    // Start, status and microseconds a line.
    let log = std::fs::read_to_string(&log)?;
    let times = || log.lines().filter_map(|line| line.split('\t').nth(2)?.parse::<f64>().ok()).map(|us| us / 1e3);
    Ok(Load { rate: rate.parse()?, p50_ms: percentile(times(), 0.5), p99_ms: percentile(times(), 0.99) })
}
