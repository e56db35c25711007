//! `/policy`: rules in force and the selectors they use.

use serde::{Deserialize, Serialize};

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyEntry {
    /// Namespace and name of its object.
    pub policy: String,
    /// The file and line it was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Whom it protects.
    pub subject: String,
    /// What may come in, a line each.
    pub ingress: Vec<String>,
    /// What may go out, a line each.
    pub egress: Vec<String>,
}

/// A selector in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// The selector.
    pub selector: String,
    /// How often it is used.
    pub users: usize,
    /// The identities it selects.
    pub identities: Vec<u32>,
}
