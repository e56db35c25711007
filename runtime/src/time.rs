//! The clock that decisions are made by, and waiting by it.
//!
//! Whatever a core is told of time comes from here. How long an answer of the network is waited for does not: that is
//! tokio's, and real.

#[cfg(any(test, feature = "chaos"))]
mod pace;
#[cfg(feature = "chaos")]
pub(crate) mod scaled;

use std::time::{Duration, Instant, SystemTime};

#[cfg(not(feature = "chaos"))]
mod edge {
    use super::{Duration, Instant, SystemTime};

    pub(super) async fn sleep_until(at: Instant) {
        tokio::time::sleep_until(at.into()).await;
    }

    pub(super) fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    pub(super) fn wall() -> SystemTime {
        SystemTime::now()
    }

    pub(super) async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }
}
#[cfg(feature = "chaos")]
use scaled as edge;

/// Returns at that time, and never without one: the arm of a `select!` for `poll_timeout`.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => edge::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Returns after that time.
pub async fn sleep(time: Duration) {
    edge::sleep(time).await;
}

/// The clock that [`sleep_until`] sleeps by: a test may have stopped it.
pub fn now() -> Instant {
    edge::now()
}

/// The clock on the wall, for what others are told: it may jump, so nothing waits by it.
pub fn wall() -> SystemTime {
    edge::wall()
}
