//! Logs: one line an event on standard error, as logfmt or JSON, each with the process's ids.
//!
//! A line that says the same again within [`repeats::QUIET`] is counted and not printed. Control characters are
//! escaped, and so are passwords in addresses: what is logged comes from elsewhere.

mod line;
mod repeats;

use std::fmt;

use parking_lot::Mutex;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use self::line::Line;
use self::repeats::Repeats;

pub use line::{replace_passwords, without_passwords};

/// How a process logs.
#[derive(Debug, Clone, clap::Args)]
pub struct LogOptions {
    /// Format of log lines
    #[arg(long = "log-format", value_enum, default_value = "text", env = "CAUSEWAY_LOG_FORMAT")]
    pub format: LogFormat,
    /// What is logged: a level, or directives such as `info,kvstore=debug`
    #[arg(long = "log-level", default_value = "info", env = "CAUSEWAY_LOG_LEVEL")]
    pub level: String,
    /// Both in Cilium's form: format=text|json, level=LEVEL; goes before the others
    #[arg(long = "log-opt", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub options: Vec<String>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `time=... level=info msg="..." subsys=agent ...`
    Text,
    /// An object a line.
    Json,
}

/// Installs the process's logger; `ids` stand on every line.
///
/// # Errors
///
/// A sentence about an option that is not understood, or a second logger.
pub fn init(options: &LogOptions, ids: &[(&'static str, String)]) -> Result<(), String> {
    let (format, level) = options.resolve()?;
    let filter = EnvFilter::try_new(&level)
        .map_err(|error| format!("--log-level {level:?}: {error}; try info, debug or info,kvstore=debug"))?;
    let format = Format { format, ids: ids.to_vec(), repeats: Mutex::default() };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .event_format(format)
        .try_init()
        .map_err(|error| format!("install the logger: {error}"))
}

impl LogOptions {
    fn resolve(&self) -> Result<(LogFormat, String), String> {
        let (mut format, mut level) = (self.format, self.level.clone());
        for option in &self.options {
            match option.split_once('=') {
                Some(("format", "text" | "text-ts")) => format = LogFormat::Text,
                Some(("format", "json" | "json-ts")) => format = LogFormat::Json,
                Some(("level", value)) => level = value.to_owned(),
                _ => return Err(format!("--log-opt {option:?} is none of format=text, format=json, level=LEVEL")),
            }
        }
        Ok((format, level))
    }
}

struct Format {
    format: LogFormat,
    ids: Vec<(&'static str, String)>,
    repeats: Mutex<Repeats>,
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Line::of(event);
        line.ids(&self.ids);
        let text = line.render(self.format);
        let Some(before) = self.repeats.lock().admit(std::time::Instant::now(), &text) else { return Ok(()) };
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        match self.format {
            LogFormat::Text => {
                write!(writer, "time={time} {text}")?;
                if before > 0 {
                    write!(writer, " repeated={before}")?;
                }
                writeln!(writer)
            }
            LogFormat::Json => {
                let repeated = if before > 0 { format!(",\"repeated\":{before}") } else { String::new() };
                writeln!(writer, "{{\"time\":\"{time}\",{text}{repeated}}}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cilium_s_options_go_before_ours_and_unknown_ones_are_named() {
        let options = |words: &[&str]| LogOptions {
            format: LogFormat::Text,
            level: "info".to_owned(),
            options: words.iter().map(|word| (*word).to_owned()).collect(),
        };
        assert_eq!(options(&["format=json", "level=debug"]).resolve(), Ok((LogFormat::Json, "debug".to_owned())));
        assert_eq!(options(&[]).resolve(), Ok((LogFormat::Text, "info".to_owned())));
        assert!(options(&["format=xml"]).resolve().unwrap_err().contains("format=xml"));
    }
}
