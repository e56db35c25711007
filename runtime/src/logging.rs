//! Logs: one line an event on standard error, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// How a process logs.
#[derive(Debug, Clone, clap::Args)]
pub struct LogOptions {
    /// Format of log lines
    #[arg(long = "log-format", value_enum, default_value = "text", env = "CAUSEWAY_LOG_FORMAT")]
    pub format: LogFormat,
    /// What is logged: a level, or directives such as `info,kvstore=debug`
    #[arg(long = "log-level", default_value = "info", env = "CAUSEWAY_LOG_LEVEL")]
    pub level: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Installs the process's logger.
///
/// # Errors
///
/// A sentence about a level that cannot be parsed, or a second logger.
pub fn init(options: &LogOptions) -> Result<(), String> {
    let filter = EnvFilter::try_new(&options.level)
        .map_err(|error| format!("--log-level {:?}: {error}; try info, debug or info,kvstore=debug", options.level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_timer(SystemTime);
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match options.format {
        LogFormat::Text => builder.with_ansi(ansi).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| format!("install the logger: {error}"))
}
