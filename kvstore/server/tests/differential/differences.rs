//! What ours answers differently on purpose: each with its reason, and each tested to be different still.

use crate::{answer::Answer, op::Op};

/// Whether this is one of the listed differences.
pub(crate) fn intended(_op: &Op, _reference: &Answer, _subject: &Answer) -> bool {
    false
}
