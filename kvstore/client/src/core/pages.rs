//! How many keys to ask for in one page of a list.
//!
//! etcd walks every remaining key for each page, so pages of a fixed small number make a list
//! quadratic. Pages are sized by bytes: few and large, but within what a client decodes.

/// Aim of one page. Derived: an eighth of [`MAX_MESSAGE`], so that a page of values eight times the
/// mean still passes.
pub(crate) const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// What the client decodes at most.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Nothing is known of the sizes yet.
const FIRST_PAGE: u32 = 1000;

/// A key's own cost on the wire beside key and value.
const OVERHEAD: usize = 24;

#[derive(Debug)]
pub(crate) struct Pages {
    limit: u32,
    keys: usize,
    bytes: usize,
}

// === impl Pages ===

impl Pages {
    pub(crate) fn new() -> Self {
        Self { limit: FIRST_PAGE, keys: 0, bytes: 0 }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Learns from a page; `bytes` are those of its keys and values.
    pub(crate) fn learn(&mut self, keys: usize, bytes: usize) {
        self.keys += keys;
        self.bytes += bytes + keys * OVERHEAD;
        if let Some(mean) = self.bytes.checked_div(self.keys) {
            self.limit = u32::try_from(PAGE_BYTES / mean.max(1)).unwrap_or(u32::MAX).max(1);
        }
    }

    /// The page was too large to decode: half of it next. False if it was a single key already.
    pub(crate) fn halve(&mut self) -> bool {
        let more = self.limit > 1;
        self.limit = (self.limit / 2).max(1);
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_sized_by_bytes() {
        let mut pages = Pages::new();
        assert_eq!(pages.limit(), 1000);
        pages.learn(1000, 1000 * 276);
        assert_eq!(pages.limit(), 27962);
        assert!(pages.halve());
        assert_eq!(pages.limit(), 13981);
        pages.learn(1, 1_000_000_000);
        assert_eq!(pages.limit(), 8);
        while pages.halve() {}
        assert_eq!(pages.limit(), 1);
    }
}
