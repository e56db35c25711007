//! Which number is tried for labels that have none.

use model::{Labels, NumericIdentity};

use super::Core;

// === impl Core ===

impl Core {
    /// A number that the store does not show; `None` when all are taken. At first the one that follows from the labels, or
    /// the next one that is free: nodes that begin with them at one time all try to make the same, and none of them fails
    /// (`txn.rs`). After that a random one: what follows from the labels may have been freed a short while ago.
    pub(super) fn pick(&mut self, labels: &Labels, failures: u32) -> Option<NumericIdentity> {
        if self.exhausted {
            return None;
        }
        let (first, last) = (*self.range.start(), *self.range.end());
        let size = u64::from(last - first) + 1;
        let start = if failures == 0 { hash(labels) } else { self.random() } % size;
        let number = |step: u64| u32::try_from((start + step) % size).ok().map(|at| NumericIdentity::new(first + at));
        let free = |number: &NumericIdentity| !self.known.contains_key(number) && !self.granted.contains_key(number);
        let found = (0..size).filter_map(number).find(free);
        self.exhausted = found.is_none();
        found
    }

    /// xorshift64: enough to keep nodes from trying the same number.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// FNV-1a, and a last step that spreads it over the low bits. Nodes of several versions agree on it: it stays as it is.
fn hash(labels: &Labels) -> u64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = wire::identity::encode(labels).into_iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    hash ^ (hash >> 32)
}
