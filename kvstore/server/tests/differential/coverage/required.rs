//! What a run must have met: 50 times each in 200,000 operations, and in proportion in shorter runs.

/// A request, one of its options, and a result.
pub(crate) type Row = (&'static str, &'static str, &'static str);

pub(crate) const ROWS: &[Row] = &[];
