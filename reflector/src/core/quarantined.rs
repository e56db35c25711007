//! A key that broke a rule, as far as it is kept.

use kvstore::KeyValue;

pub(super) struct Quarantined<R> {
    pub(super) error: String,
    /// Well formed, but somebody else's: that may change with what others say.
    pub(super) claim: bool,
    pub(super) what: Refused<R>,
}

pub(super) enum Refused<R> {
    /// As the store has it.
    Key(KeyValue),
    /// Was accepted once.
    Row(R),
    /// There was no room to keep it.
    Forgotten,
}

// === impl Refused ===

impl<R> Refused<R> {
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Key(kv) => kv.key.len() + kv.value.len(),
            Self::Row(_) => size_of::<R>(),
            Self::Forgotten => 0,
        }
    }
}
