//! Lists as a table, JSON or YAML.

use std::io::{self, Write};

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

impl Output {
    /// Prints values: as they are, or as rows under a head.
    pub(crate) fn list<T: Serialize>(self, head: &[&str], values: &[T], row: impl Fn(&T) -> Vec<String>) -> Result<()> {
        match self.output {
            Form::Table => print(&columns(head, values.iter().map(row))),
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

/// Aligned columns without lines; no blanks at line ends.
pub(crate) fn columns(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().map(ToString::to_string));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Prints; a reader that has gone away (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_of_several_lines_stay_in_theirs() {
        let rows = [vec!["1".to_owned(), "a\nb".to_owned(), "x".to_owned()]];
        assert_eq!(columns(&["ID", "LABELS", "Z"], rows.into_iter()), "ID  LABELS  Z\n1   a       x\n    b\n");
    }
}
