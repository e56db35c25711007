//! One label: who said it (source), its key and its value.

use std::{fmt, str::FromStr, sync::Arc};

/// A label of an identity. Ordered by key first: sets of labels are sorted by key only.
///
/// Neither part may contain `;`, which ends a label in etcd; a source has no `:` and a key no `=`,
/// so that [`Label::from_str`] finds the same parts again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    key: Arc<str>,
    source: Arc<str>,
    value: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabel {
    #[error("label {0:?} has no key")]
    EmptyKey(String),
    #[error("label source {0:?} contains ':', '=' or ';'")]
    Source(String),
    #[error("label key {0:?} contains '=' or ';'")]
    Key(String),
    #[error("label value {0:?} contains ';'")]
    Value(String),
}

// === impl Label ===

impl Label {
    pub const K8S: &'static str = "k8s";
    pub const RESERVED: &'static str = "reserved";
    pub const CIDR: &'static str = "cidr";
    pub const ANY: &'static str = "any";
    pub const UNSPEC: &'static str = "unspec";

    pub fn try_new(source: &str, key: &str, value: &str) -> Result<Self, InvalidLabel> {
        if source.contains([':', '=', ';']) {
            return Err(InvalidLabel::Source(source.to_owned()));
        }
        if key.is_empty() {
            return Err(InvalidLabel::EmptyKey(format!("{source}:{key}={value}")));
        }
        if key.contains(['=', ';']) {
            return Err(InvalidLabel::Key(key.to_owned()));
        }
        if value.contains(';') {
            return Err(InvalidLabel::Value(value.to_owned()));
        }
        let source = if source.is_empty() { Self::UNSPEC } else { source };
        Ok(Self { key: key.into(), source: source.into(), value: value.into() })
    }

    pub fn k8s(key: &str, value: &str) -> Result<Self, InvalidLabel> {
        Self::try_new(Self::K8S, key, value)
    }

    pub(crate) fn reserved(name: &'static str) -> Self {
        Self { key: name.into(), source: Self::RESERVED.into(), value: Arc::default() }
    }

    /// A key of digits, letters, dots, dashes and one slash: none that ends anything.
    pub(crate) fn of_cidr(key: &str) -> Self {
        Self { key: key.into(), source: Self::CIDR.into(), value: Arc::default() }
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn value(&self) -> &str {
        &self.value
    }
}

/// `source:key=value`; without `=` where the value is empty, as Cilium prints it.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.key)?;
        if self.value.is_empty() { Ok(()) } else { write!(f, "={}", self.value) }
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The source ends at the first `:`, the key at the first `=`. No source means `unspec`.
impl FromStr for Label {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        let (source, rest) = match text.split_once(':') {
            // A colon after the first `=` belongs to the value.
            Some((source, rest)) if !source.contains('=') => (source, rest),
            _ => (Self::UNSPEC, text),
        };
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        Self::try_new(source, key, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_parse_and_print() {
        fn check(text: &str, parts: [&str; 3], printed: &str) {
            let label: Label = text.parse().unwrap();
            assert_eq!([label.source(), label.key(), label.value()], parts);
            assert_eq!(label.to_string(), printed);
        }
        check("k8s:app=cart", ["k8s", "app", "cart"], "k8s:app=cart");
        check("k8s:a=b=c", ["k8s", "a", "b=c"], "k8s:a=b=c");
        check("k8s:a=", ["k8s", "a", ""], "k8s:a");
        check("reserved:host", ["reserved", "host", ""], "reserved:host");
        check("app=x:y", ["unspec", "app", "x:y"], "unspec:app=x:y");
        check("k8s:a/b:c=d", ["k8s", "a/b:c", "d"], "k8s:a/b:c=d");
    }

    #[test]
    fn what_would_break_the_label_string_is_refused() {
        assert_eq!(Label::k8s("a;b", ""), Err(InvalidLabel::Key("a;b".into())));
        assert_eq!(Label::k8s("a", "b;"), Err(InvalidLabel::Value("b;".into())));
        assert_eq!(Label::try_new("k:s", "a", ""), Err(InvalidLabel::Source("k:s".into())));
        assert!("k8s:=v".parse::<Label>().is_err());
    }
}
