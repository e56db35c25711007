//! The keys that a request names: one, a range, or all from one on.

use bytes::Bytes;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    start: Bytes,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum End {
    /// This one key.
    One,
    /// Up to this key, without it.
    Before(Bytes),
    None,
}

// === impl Span ===

impl Span {
    /// From the two fields of a request: no end is one key, and a single zero byte is no end.
    pub(crate) fn new(key: Bytes, range_end: Bytes) -> Self {
        let end = match &range_end[..] {
            [] => End::One,
            [0] => End::None,
            _ => End::Before(range_end),
        };
        Self { start: key, end }
    }

    pub(crate) fn one(&self) -> Option<&[u8]> {
        (self.end == End::One).then_some(&self.start[..])
    }

    pub(crate) fn start(&self) -> &[u8] {
        &self.start
    }

    /// Whether a key at or after the start is in.
    pub(crate) fn reaches(&self, key: &[u8]) -> bool {
        match &self.end {
            End::One => *key == self.start[..],
            End::Before(end) => *key < end[..],
            End::None => true,
        }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        *key >= self.start[..] && self.reaches(key)
    }

    /// Where it ends: `None` for no end. Not for one key.
    pub(crate) fn before(&self) -> Option<&[u8]> {
        match &self.end {
            End::Before(end) => Some(end),
            End::One | End::None => None,
        }
    }

    /// No key can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.end, End::Before(end) if *end <= self.start)
    }
}
