//! Tables as text and JSON. The CLI and the tests print through here, so both show the same.

use serde_json::{Map, Value};

use crate::{Row, RowRef};

/// Columns padded to their widest cell, two blanks between, no blanks at line ends.
pub(crate) fn text<'a, R: Row>(rows: impl Iterator<Item = &'a RowRef<R>>) -> String {
    let head = R::COLUMNS.iter().map(|column| (*column).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows.map(|row| row.cells())).collect();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..R::COLUMNS.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// An array with an object a row; cells are strings.
pub(crate) fn json<'a, R: Row>(rows: impl Iterator<Item = &'a RowRef<R>>) -> Value {
    let object = |row: &RowRef<R>| {
        let cells = R::COLUMNS.iter().zip(row.cells());
        Value::Object(cells.map(|(column, cell)| ((*column).to_owned(), Value::String(cell))).collect::<Map<_, _>>())
    };
    Value::Array(rows.map(object).collect())
}
