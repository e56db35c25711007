//! A writer that prints what Go's `json.Marshal` prints: no white space, HTML-safe strings.

use std::{collections::BTreeMap, fmt::Display};

/// Members are written in the order of the calls, which must be the order of Go's declarations.
pub(crate) struct Writer {
    out: Vec<u8>,
}

// === impl Writer ===

impl Writer {
    /// Writes one object and returns its bytes.
    pub(crate) fn document(members: impl FnOnce(&mut Self)) -> Vec<u8> {
        // Most values fit; an ip entry has 150 to 400 bytes.
        let mut writer = Self { out: Vec::with_capacity(384) };
        writer.object(members);
        writer.out
    }

    pub(crate) fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.out.push(b'{');
        members(self);
        self.out.push(b'}');
    }

    /// Starts a member; exactly one value must follow.
    pub(crate) fn name(&mut self, name: &str) -> &mut Self {
        self.separate();
        self.string(name);
        self.out.push(b':');
        self
    }

    /// A comma, unless this is the first of its object or array.
    fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }

    pub(crate) fn array<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.out.push(b'[');
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            write(self, item);
        }
        self.out.push(b']');
    }

    pub(crate) fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    /// A number or a truth value.
    pub(crate) fn plain(&mut self, value: impl Display) {
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    /// Something that prints without characters that JSON escapes, such as an address.
    pub(crate) fn quoted(&mut self, value: impl Display) {
        self.string(&value.to_string());
    }

    /// `""` for nothing, as Go prints a nil address.
    pub(crate) fn quoted_or_empty(&mut self, value: Option<impl Display>) {
        match value {
            Some(value) => self.quoted(value),
            None => self.string(""),
        }
    }

    pub(crate) fn string_map(&mut self, map: &BTreeMap<String, String>) {
        self.object(|w| {
            for (key, value) in map {
                w.name(key).string(value);
            }
        });
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.out.push(b'"');
        let mut done = 0;
        for (at, c) in text.char_indices() {
            let short = match c {
                '"' => Some("\\\""),
                '\\' => Some("\\\\"),
                '\n' => Some("\\n"),
                '\r' => Some("\\r"),
                '\t' => Some("\\t"),
                '\u{8}' => Some("\\b"),
                '\u{c}' => Some("\\f"),
                _ => None,
            };
            if short.is_none() && !matches!(c, '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
                continue;
            }
            self.out.extend_from_slice(&text.as_bytes()[done..at]);
            match short {
                Some(short) => self.out.extend_from_slice(short.as_bytes()),
                None => self.out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
            }
            done = at + c.len_utf8();
        }
        self.out.extend_from_slice(&text.as_bytes()[done..]);
        self.out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::{Reader, parse};

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        fn check(text: &str, expect: &str) {
            let out = Writer::document(|w| w.name("x").string(text));
            assert_eq!(String::from_utf8(out).unwrap(), format!("{{\"x\":\"{expect}\"}}"));
        }
        check("<&>", "\\u003c\\u0026\\u003e");
        check("a\u{2028}b\u{2029}", "a\\u2028b\\u2029");
        check("\0\u{1f}\u{7f}\u{8}\u{c}", "\\u0000\\u001f\u{7f}\\b\\f");
        check("\"\\/\n\r\t", "\\\"\\\\/\\n\\r\\t");
        check("pfad-ü-😀", "pfad-ü-😀");
    }

    #[test]
    fn commas_stand_between_members_only() {
        let out = Writer::document(|w| {
            w.name("a").object(|_| ());
            w.name("b").array([1, 2], |w, n| w.plain(n));
            w.name("c").null();
        });
        assert_eq!(out, br#"{"a":{},"b":[1,2],"c":null}"#);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in any::<String>()) {
            let out = Writer::document(|w| w.name(&text).string(&text));
            parse(&out, |r: &mut Reader| r.object(|r, key| {
                assert_eq!(key, text);
                assert_eq!(r.string().unwrap().unwrap(), text);
                Ok(())
            })).unwrap();
        }
    }
}
