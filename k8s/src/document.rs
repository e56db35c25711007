//! One YAML document of a file.

use std::sync::Arc;

use serde_json::Value;

/// A document with the place where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The file's name.
    pub file: Arc<str>,
    /// The line of its first line, from 1.
    pub line: u32,
    /// Its content.
    pub value: Value,
}

/// The documents of a file; documents without content are left out.
///
/// # Errors
///
/// The line of the document that is no YAML, and why.
pub(crate) fn split(file: &Arc<str>, text: &str) -> Result<Vec<Document>, String> {
    // Only true and false are booleans, as in YAML 1.2: a label value `y` is text.
    let options = serde_saphyr::options! { strict_booleans: true };
    let mut documents = Vec::new();
    let mut start = 1;
    let mut body = String::new();
    let mut finish = |start: u32, body: &str| -> Result<(), String> {
        let content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        if !body.lines().any(content) {
            return Ok(());
        }
        let value: Value = serde_saphyr::from_str_with_options(body, options.clone()).map_err(|error| {
            format!("{file}: the document at line {start} is not YAML: {}", first_line(&error.to_string()))
        })?;
        if !value.is_null() {
            documents.push(Document { file: Arc::clone(file), line: start, value });
        }
        Ok(())
    };
    for (number, line) in (1u32..).zip(text.lines()) {
        if line == "---" || line.starts_with("--- ") {
            finish(start, &body)?;
            body.clear();
            start = number + 1;
        } else {
            body.push_str(line);
            body.push('\n');
        }
    }
    finish(start, &body)?;
    Ok(documents)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_know_their_lines_and_empty_ones_are_left_out() {
        let text = "# head\n---\na: 1\n---\n\n---\nb: [x, y]\n";
        let found = split(&"f.yaml".into(), text).unwrap();
        let lines: Vec<_> = found.iter().map(|document| (document.line, document.value.to_string())).collect();
        assert_eq!(lines, [(3, r#"{"a":1}"#.to_owned()), (7, r#"{"b":["x","y"]}"#.to_owned())]);
    }

    #[test]
    fn broken_yaml_is_named_by_file_and_line() {
        let error = split(&"f.yaml".into(), "a: 1\n---\nb: [\n").unwrap_err();
        assert!(error.starts_with("f.yaml: the document at line 3 is not YAML"), "{error}");
    }
}
