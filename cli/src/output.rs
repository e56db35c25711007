//! Lists as a table, JSON or YAML; colours where a terminal shows them.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// The form of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// Columns
    #[default]
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// `-o`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Output {
    /// Form of the output
    #[arg(long, short, global = true, value_enum, default_value = "table")]
    pub(crate) output: Form,
}

/// The time of day in UTC of milliseconds since 1970: `14:03:22.117`.
pub(crate) fn time_of_day(millis: u64) -> String {
    let (seconds, rest) = (millis / 1000 % 86_400, millis % 1000);
    format!("{:02}:{:02}:{:02}.{rest:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// How something stands, for colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Doubtful,
    Bad,
}

impl Output {
    /// Prints values: as they are, or as rows under a head.
    pub(crate) fn list<T: Serialize>(self, head: &[&str], values: &[T], row: impl Fn(&T) -> Vec<String>) -> Result<()> {
        match self.output {
            Form::Table => print(&columns(head, values.iter().map(row), width())),
            _ => self.value(&values),
        }
    }

    /// Prints one value as JSON or YAML; a table is asked for as YAML, which people read as easily.
    pub(crate) fn value<T: Serialize>(self, value: &T) -> Result<()> {
        match self.output {
            Form::Json => print(&format!("{}\n", serde_json::to_string_pretty(value)?)),
            _ => print(&serde_saphyr::to_string(value)?),
        }
    }
}

/// Columns of the terminal; `None` when the output goes elsewhere: lines are then as long as they are.
fn width() -> Option<u16> {
    let stdout = io::stdout();
    stdout.is_terminal().then(|| terminal_size::terminal_size_of(stdout).map(|(width, _)| width.0)).flatten()
}

/// Aligned columns without lines, wrapped to `width`; no blanks at line ends.
fn columns(head: &[&str], rows: impl Iterator<Item = Vec<String>>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table.set_header(head.iter().map(ToString::to_string));
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Text from elsewhere must not steer the terminal: control characters but line ends are shown as escapes.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// The text in its colour, where colours are shown: on a terminal, and not when `NO_COLOR` is set.
pub(crate) fn paint(tone: Tone, text: &str) -> String {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if !io::stdout().is_terminal() || set("NO_COLOR") || dumb {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Good => 32,
        Tone::Doubtful => 33,
        Tone::Bad => 31,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// The reader of our output has gone (`| head`): nobody waits for the rest, and nothing is wrong.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl std::fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reader of the output has gone")
    }
}

impl std::error::Error for ReaderGone {}

/// Prints; [`ReaderGone`] ends the program well.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_of_several_lines_stay_in_theirs() {
        let rows = [vec!["1".to_owned(), "a\nb".to_owned(), "x".to_owned()]];
        assert_eq!(columns(&["ID", "LABELS", "Z"], rows.into_iter(), None), "ID  LABELS  Z\n1   a       x\n    b\n");
    }

    #[test]
    fn a_terminal_s_width_is_kept_and_a_pipe_has_none() {
        let row = || [vec!["k8s:app=frontend k8s:team=shop k8s:tier=web".to_owned(), "ready".to_owned()]].into_iter();
        let narrow = columns(&["LABELS", "STATUS"], row(), Some(30));
        assert!(narrow.lines().all(|line| line.chars().count() <= 30) && narrow.lines().count() > 2, "{narrow}");
        assert_eq!(columns(&["LABELS", "STATUS"], row(), None).lines().count(), 2);
    }

    #[test]
    fn names_from_elsewhere_do_not_steer_the_terminal() {
        let rows = [vec!["a\x1b[2Jb\rc".to_owned()]];
        assert_eq!(columns(&["NAME"], rows.into_iter(), None), "NAME\na\\u{1b}[2Jb\\rc\n");
    }
}
