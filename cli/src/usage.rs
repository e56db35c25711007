//! A command line that cannot be understood: one line that says what, where and how to go on, then where the help is.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// As every command of its kind answers.
pub(crate) const WRONG: u8 = 2;

/// Prints it. `origins` says which options came from a file or a variable.
pub(crate) fn refuse(error: &clap::Error, origins: &BTreeMap<String, String>) -> ExitCode {
    if !error.use_stderr() {
        // Help and version, coloured on a terminal only; a reader that has gone away is no error.
        error.print().ok();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let mut paragraphs = text.trim_end().split("\n\n").map(|paragraph| {
        let lines: Vec<&str> = paragraph.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join(" ")
    });
    let mut line = paragraphs.next().unwrap_or_default();
    let mut help = Vec::new();
    for paragraph in paragraphs {
        match paragraph.strip_prefix("tip: ") {
            Some(tip) => line.push_str(&format!("; {}", tip.replace("a similar argument exists", "did you mean"))),
            None => help.push(paragraph),
        }
    }
    if let Some(origin) = option(error).and_then(|option| origins.get(option)) {
        line.push_str(&format!(" (from {origin})"));
    }
    let empty = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    let shown = if empty { text } else { format!("{line}\n{}\n", help.join("\n")) };
    // Nobody to tell.
    std::io::stderr().write_all(shown.as_bytes()).ok();
    ExitCode::from(WRONG)
}

/// The name of the option that the error is about.
fn option(error: &clap::Error) -> Option<&str> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    shown.strip_prefix("--")?.split([' ', '=']).next()
}
