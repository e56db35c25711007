//! `/metrics` of the local API: the same numbers as for Prometheus, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The metric's name; of histograms `_count` and `_sum`.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}
