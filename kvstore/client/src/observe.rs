//! Whoever counts requests.

use std::{sync::Arc, time::Duration};

use crate::Operation;

/// One request that ended.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    pub operation: Operation,
    /// The key, or what stands for it.
    pub key: &'a [u8],
    pub succeeded: bool,
    /// Waiting for the rate limit included.
    pub took: Duration,
}

/// Hears of every request; must be quick.
pub type Observer = Arc<dyn Fn(Observed<'_>) + Send + Sync>;
