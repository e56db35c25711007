//! What a run with users must have met, in the same proportion.

use super::required::Row;

pub(crate) const ROWS: &[Row] = &[("Range", "ok", &["any"])];
