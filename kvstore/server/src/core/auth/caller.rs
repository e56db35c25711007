//! Who asks: as the edge could tell, and as the log keeps it.

use std::sync::Arc;

use crate::core::entry::Entry;

/// In the entries of what nobody asked for.
const STORE: i64 = -1;
const NOBODY: i64 = 0;

/// Who asks, as far as the connection and the request say. Whether that is so is the state's to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Caller {
    #[default]
    Nobody,
    /// Showed a token that was not given out, or is over.
    BadToken,
    User {
        name: Arc<str>,
        proof: Proof,
    },
}

/// What makes a caller the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The common name of a verified certificate.
    Certificate,
    /// A token that was given for the password of this revision.
    Token { credential: u64 },
    /// A signed token that names a revision of the permissions.
    Signed { revision: u64 },
}

/// Whose an operation is, at which revision of the permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum By {
    /// The store itself: expiries, alarms, its own compactions.
    Store,
    /// Also everybody, while nobody is asked who they are.
    #[default]
    Nobody,
    User {
        name: Arc<str>,
        revision: u64,
    },
}

// === impl Caller ===

impl Caller {
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::User { name, .. } => Some(name),
            Self::Nobody | Self::BadToken => None,
        }
    }
}

// === impl By ===

impl By {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::User { name, .. } => name,
            Self::Store | Self::Nobody => "",
        }
    }

    /// As if it were asked anew, at this revision: a signed token that is old goes on seeing what it was let see.
    pub(crate) fn at(self, now: u64) -> Self {
        match self {
            Self::User { name, .. } => Self::User { name, revision: now },
            Self::Store | Self::Nobody => self,
        }
    }

    /// As an entry's auth revision.
    pub(crate) fn revision(&self) -> i64 {
        match self {
            Self::Store => STORE,
            Self::Nobody => NOBODY,
            Self::User { revision, .. } => *revision as i64,
        }
    }

    pub(crate) fn of(entry: &Entry) -> Self {
        match entry.auth_revision {
            STORE => Self::Store,
            NOBODY => Self::Nobody,
            revision => Self::User { name: entry.principal.as_str().into(), revision: revision as u64 },
        }
    }
}
