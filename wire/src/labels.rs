//! The label string: `source:key=value;` for each label, sorted by key, always with `=` and `;`.
//!
//! The `;` at the end is load-bearing: without it, one label string could be the start of another.

use model::{Label, Labels};

use crate::{Broken, DecodeError, error::Fault};

/// Of a whole label set: etcd takes no key of much more, and label sets are in the keys of slaves.
const MAX_VALUE: usize = 64 << 10;

pub fn encode(labels: &Labels) -> String {
    let mut text =
        String::with_capacity(labels.iter().map(|l| l.source().len() + l.key().len() + l.value().len() + 3).sum());
    for label in labels {
        for part in [label.source(), ":", label.key(), "=", label.value(), ";"] {
            text.push_str(part);
        }
    }
    text
}

/// Empty pieces are skipped. The result is sorted; whether the text was, [`is_canonical`] says.
///
/// # Errors
/// Text that is not UTF-8, has no label, or a label without key.
pub fn decode(key: &str, value: &[u8]) -> Result<Labels, DecodeError> {
    let read = || {
        let (size, limit) = (value.len(), MAX_VALUE);
        if size > limit {
            return Err(Fault::new(Broken::Size { size, limit }));
        }
        let text = std::str::from_utf8(value).map_err(|_| Fault::new(Broken::Utf8))?;
        let pieces = text.split(';').filter(|piece| !piece.is_empty());
        let labels: Labels = pieces.map(str::parse::<Label>).collect::<Result<_, _>>().map_err(Fault::new)?;
        if labels.is_empty() { Err(Fault::new(Broken::Required)) } else { Ok(labels) }
    };
    read().map_err(|fault| fault.of(key))
}

/// Whether a peer wrote the labels as we would. Cilium takes two spellings for two label sets.
pub fn is_canonical(labels: &Labels, text: &[u8]) -> bool {
    encode(labels).as_bytes() == text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_string_is_sorted_by_key_only() {
        let labels: Labels = ["z:b=1", "k8s:c=", "a:a=x=y"].iter().map(|l| l.parse().unwrap()).collect();
        assert_eq!(encode(&labels), "a:a=x=y;z:b=1;k8s:c=;");
        assert_eq!(decode("k", b"a:a=x=y;z:b=1;k8s:c=;"), Ok(labels.clone()));
        assert_eq!(decode("k", b"k8s:c;z:b=1;a:a=x=y"), Ok(labels.clone()));
        assert!(!is_canonical(&labels, b"k8s:c;z:b=1;a:a=x=y"));
        for bad in [&b""[..], b";", b"k8s:=x;", b"\xff"] {
            assert!(decode("k", bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(parts in proptest::collection::vec(
            ("[a-z]{1,3}", "[a-z./:-]{1,6}", "[a-z=:/ ]{0,4}"), 1..6)) {
            let labels: Labels = parts.iter().filter_map(|(s, k, v)| Label::try_new(s, k, v).ok()).collect();
            prop_assert_eq!(decode("k", encode(&labels).as_bytes()), Ok(labels));
        }
    }
}
