//! Waiting for a core's next time-out.

use std::time::Instant;

/// Returns at that time, and never without one: the arm of a `select!` for `poll_timeout`.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The clock that [`sleep_until`] sleeps by: a test may have stopped it.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
