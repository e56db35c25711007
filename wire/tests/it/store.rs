//! Reads a store's dump from `testdata/`.

use base64::Engine as _;

pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) leased: bool,
    pub(crate) value: Vec<u8>,
}

/// `key`, `lease` and `value` lines, blocks parted by empty lines, `#` for comments.
pub(crate) fn entries(file: &str) -> Vec<Entry> {
    let path = format!("{}/testdata/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut entries = Vec::new();
    let (mut key, mut leased) = (String::new(), false);
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("key", rest)) => key = rest.trim().to_owned(),
            Some(("lease", rest)) => leased = rest.trim() != "none",
            Some(("value", rest)) => {
                let value = match rest.strip_prefix("b64:") {
                    Some(encoded) => base64::engine::general_purpose::STANDARD.decode(encoded).unwrap(),
                    None => rest.as_bytes().to_vec(),
                };
                entries.push(Entry { key: key.clone(), leased, value });
            }
            _ => {}
        }
    }
    assert!(entries.len() > 20, "{path} has {} entries", entries.len());
    entries
}
