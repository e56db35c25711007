//! What others should know of that is no answer: changes of permissions, and watches that were refused.

use super::{Caller, Failure, entry::Kind};

/// What happened just now, for whoever keeps a record of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Audit {
    /// Users or roles changed; the revision is that of the permissions afterwards.
    Changed { who: String, what: Kind, target: String, revision: u64 },
    /// A watch was not for the one who wanted it: nobody else sees that, for its stream goes on.
    Refused { caller: Caller, failure: Failure },
}
