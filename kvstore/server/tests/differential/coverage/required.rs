//! What a run must have met: 50 times each in 200,000 operations, and in proportion in shorter runs.

/// A request, a result, and options that it must have had with this result.
pub(crate) type Row = (&'static str, &'static str, &'static [&'static str]);

pub(crate) const ROWS: &[Row] = &[];
