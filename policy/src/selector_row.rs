//! Table `policy-selectors`: the selectors in use, for `causeway policy selectors`.

use std::sync::Arc;

use model::NumericIdentity;
use statedb::Row;

/// A selector, who uses it and whom it selects.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectorRow {
    /// The selector as text.
    pub selector: Arc<str>,
    /// How many rule parts of how many local identities use it.
    pub users: usize,
    /// The identities it selects.
    pub identities: Vec<NumericIdentity>,
}

impl Row for SelectorRow {
    type Key = Arc<str>;
    const TABLE: &'static str = "policy-selectors";
    const COLUMNS: &'static [&'static str] = &["SELECTOR", "USERS", "IDENTITIES"];

    fn key(&self) -> Arc<str> {
        Arc::clone(&self.selector)
    }

    fn cells(&self) -> Vec<String> {
        let identities = self.identities.iter().map(ToString::to_string).collect::<Vec<_>>();
        vec![self.selector.to_string(), self.users.to_string(), identities.join(",")]
    }
}
