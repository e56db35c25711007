//! One event as text.

use std::fmt::{Debug, Write};

use tracing::Event;
use tracing::field::{Field, Visit};

use super::LogFormat;

/// An event's parts, in the order of print.
pub(super) struct Line(Vec<(String, Value)>);

enum Value {
    Text(String),
    /// A number or a truth value: printed as it is in JSON too.
    Bare(String),
}

// === impl Line ===

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut fields = Fields { message: String::new(), others: Vec::new() };
        event.record(&mut fields);
        let target = metadata.target();
        let subsys = target.split_once("::").map_or(target, |(krate, _)| krate);
        let mut parts = vec![
            ("level".to_owned(), Value::Text(level(*metadata.level()).to_owned())),
            ("msg".to_owned(), Value::Text(without_passwords(&fields.message))),
            ("subsys".to_owned(), Value::Text(subsys.replace('_', "-"))),
        ];
        parts.append(&mut fields.others);
        Self(parts)
    }

    /// Adds the process's ids, where the event does not say otherwise.
    pub(super) fn ids(&mut self, ids: &[(&'static str, String)]) {
        for (name, value) in ids {
            if !self.0.iter().any(|(known, _)| known == name) {
                self.0.push(((*name).to_owned(), Value::Text(value.clone())));
            }
        }
    }

    /// Everything but the time.
    pub(super) fn render(&self, format: LogFormat) -> String {
        let mut text = String::new();
        for (index, (name, value)) in self.0.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = match (format, value) {
                (LogFormat::Text, Value::Bare(value)) => write!(text, "{}{name}={value}", gap(index, " ")),
                (LogFormat::Text, Value::Text(value)) => write!(text, "{}{name}={}", gap(index, " "), logfmt(value)),
                (LogFormat::Json, Value::Bare(value)) => write!(text, "{}\"{name}\":{value}", gap(index, ",")),
                (LogFormat::Json, Value::Text(value)) => {
                    write!(text, "{}\"{name}\":\"{}\"", gap(index, ","), json(value))
                }
            };
        }
        text
    }
}

fn gap(index: usize, separator: &'static str) -> &'static str {
    if index == 0 { "" } else { separator }
}

fn level(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warning",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "trace",
    }
}

/// Quoted where it must be; control characters as escapes.
fn logfmt(value: &str) -> String {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"=\"\\".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut text = String::from('"');
    for c in value.chars() {
        if c.is_control() || "\"\\".contains(c) { text.extend(c.escape_debug()) } else { text.push(c) }
    }
    text + "\""
}

fn json(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        match c {
            '"' => text += "\\\"",
            '\\' => text += "\\\\",
            '\n' => text += "\\n",
            c if c.is_control() => drop(write!(text, "\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

/// The text with `user:password@` of every address hidden.
pub fn without_passwords(text: &str) -> String {
    replace_passwords(text, "REDACTED", &mut |_| {})
}

/// The text with `hidden` in place of `user:password` in every address; `found` is told each password.
pub fn replace_passwords(text: &str, hidden: &str, found: &mut dyn FnMut(&str)) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'<>,".contains(c)).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) => {
                if let Some((_, password)) = user.split_once(':') {
                    found(password);
                }
                clean.push_str(hidden);
                clean.push('@');
                clean.push_str(host);
            }
            None => clean.push_str(authority),
        }
        rest = tail;
    }
    clean + rest
}

struct Fields {
    message: String,
    others: Vec<(String, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        let name = field.name().trim_start_matches("r#");
        // Names that every line has already.
        let name =
            if matches!(name, "time" | "level" | "msg" | "subsys") { format!("{name}_") } else { name.to_owned() };
        self.others.push((name, value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = without_passwords(&format!("{value:?}"));
        if field.name() == "message" { self.message = text } else { self.add(field, Value::Text(text)) }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = without_passwords(value);
        if field.name() == "message" { self.message = text } else { self.add(field, Value::Text(text)) }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bare(value.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_forge_a_line_or_steer_a_terminal() {
        let forged = "x\ntime=1 level=error msg=forged \x1b[2J\"";
        let text = Line(vec![("key".to_owned(), Value::Text(forged.to_owned()))]);
        assert_eq!(text.render(LogFormat::Text), "key=\"x\\ntime=1 level=error msg=forged \\u{1b}[2J\\\"\"");
        assert_eq!(text.render(LogFormat::Json), "\"key\":\"x\\ntime=1 level=error msg=forged \\u001b[2J\\\"\"");
        assert_eq!(logfmt("plain/value:1"), "plain/value:1");
        assert_eq!(logfmt(""), "\"\"");
    }

    #[test]
    fn passwords_in_addresses_are_hidden() {
        assert_eq!(without_passwords("dial http://a:b@c:1/x and d://e"), "dial http://REDACTED@c:1/x and d://e");
        assert_eq!(without_passwords("a@b ://"), "a@b ://");
    }
}
